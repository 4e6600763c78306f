//! The resources in a patient's compartment, for servers without a compartment search.

/// The types in FHIR R4's CompartmentDefinition `patient` that Synthea generates, with the search parameters that
/// the definition names. The definition also names `Group`, by its members. Whether an export of patients holds
/// their groups is up to the server, and HAPI's does not.
const WITHIN: [(&str, &[&str]); 19] = [
    ("AllergyIntolerance", &["patient", "recorder", "asserter"]),
    ("CarePlan", &["patient", "performer"]),
    ("CareTeam", &["patient", "participant"]),
    ("Claim", &["patient", "payee"]),
    ("Condition", &["patient", "asserter"]),
    ("DiagnosticReport", &["subject"]),
    ("DocumentReference", &["subject", "author"]),
    ("Encounter", &["patient"]),
    ("ExplanationOfBenefit", &["patient", "payee"]),
    ("ImagingStudy", &["patient"]),
    ("Immunization", &["patient"]),
    ("MedicationAdministration", &["patient", "performer", "subject"]),
    ("MedicationRequest", &["subject"]),
    ("Observation", &["subject", "performer"]),
    ("Patient", &["_id"]),
    ("Procedure", &["patient", "performer"]),
    ("Provenance", &["patient"]),
    ("ServiceRequest", &["subject", "performer"]),
    ("SupplyDelivery", &["patient"]),
];

/// The types that Synthea generates and that are in no patient's compartment, and `Group`.
const WITHOUT: [&str; 7] =
    ["Device", "Group", "Location", "Medication", "Organization", "Practitioner", "PractitionerRole"];

/// The search parameters that lead from a patient to resources of a type: none if the type is in no compartment. `None`
/// for an unknown type.
pub fn parameters(kind: &str) -> Option<&'static [&'static str]> {
    if WITHOUT.contains(&kind) {
        return Some(&[]);
    }
    WITHIN.iter().find(|(within, _)| *within == kind).map(|(_, parameters)| *parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_within_or_without_or_unknown() {
        assert_eq!(parameters("Observation"), Some(["subject", "performer"].as_slice()));
        assert_eq!(parameters("Location"), Some([].as_slice()));
        assert_eq!(parameters("Spaceship"), None);
    }
}
