//! An operator for FHIR bulk exports on Kubernetes. See ARCHITECTURE.md.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod core;
pub mod credentials;
pub mod fhir;
pub mod local;
pub mod metrics;
pub mod offline;
pub mod operator;
pub mod plugin;
pub mod pod;
pub mod ports;
pub mod serve;
pub mod show;
pub mod stop;
pub mod storage;
pub mod traces;
