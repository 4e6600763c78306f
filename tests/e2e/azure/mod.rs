//! Exports of Azure's FHIR service, which writes the files itself: from the Azure-dialect test server into Azurite.

mod auth;
mod cancels;
mod containers;
mod crowd;
mod exports;
mod identities;
mod job_failures;
mod kick_offs;
mod leaks;
mod left_behind;
mod lifetimes;
mod logs;
mod mistakes;
mod planted;
mod reading;
mod refused;
mod repairs;
mod restarts;
mod rotations;
mod schedules;
mod servers;
mod storage_auth;
mod tenant;
mod tokens;
