//! What is in a patient's compartment, for servers that cannot be asked for a compartment as such.

/// The types of FHIR R4's CompartmentDefinition `patient` that Synthea makes, with the search parameters that say so. `Group` is
/// in it, too, by its members; but whether an export of patients holds the groups that they are in is up to the server, and HAPI's
/// does not.
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

/// The types that Synthea makes which are in no patient's compartment, and `Group`.
const WITHOUT: [&str; 7] =
    ["Device", "Group", "Location", "Medication", "Organization", "Practitioner", "PractitionerRole"];

/// The search parameters that lead from a patient to resources of a type; none for a type that is not known here.
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
