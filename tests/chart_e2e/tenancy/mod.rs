//! Attacks of one tenant on another, on the owner of a server, and on the operator, with the roles that the chart
//! grants, on a real API server.

mod broken;
mod credentials;
mod ear;
mod forged;
mod rights;
mod turns;
mod world;
