//! The FHIR edge: sends requests with the right identity to the right origin, and reports what it saw.
