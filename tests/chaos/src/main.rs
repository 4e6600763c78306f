//! x
mod audit;
mod plan;
mod record;
fn main() {}
