//! Schedules with FHIR servers whose data change all the time.

mod ahead;
mod azure;
mod example;
mod joined;
mod mishap;
mod replayed;
mod retained;
