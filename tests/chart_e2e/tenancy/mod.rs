//! What one tenant can do to another, to the owner of a server, and to the operator: each an attack, with the roles
//! that the chart gives, on a real API server.

mod broken;
mod credentials;
mod ear;
mod forged;
mod rights;
mod turns;
mod world;
