use super::*;

fn answer(status: u16, code: &str, text: &str) -> Answer {
    let body = serde_json::json!({"resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "diagnostics": text}]});
    Answer { status, body: body.to_string().into(), ..Answer::default() }
}

fn plain(status: u16, body: &str) -> Answer {
    Answer {
        status,
        body: body.to_owned().into(),
        content_type: Some("text/html".into()),
        ..Answer::default()
    }
}

/// Every row of the table in docs/azure-behaviour.md, "Failed jobs".
#[test]
fn failed_jobs_get_their_own_reason() {
    let rows = [
        (
            403,
            "This request is not authorized to perform this operation using this permission.\n\
                 ErrorCode: AuthorizationPermissionMismatch",
            Reason::StorageAccessDenied,
            false,
        ),
        (403, "… ErrorCode: AuthorizationFailure <xml/>", Reason::StorageAccessDenied, false),
        (403, "Unable to get access token for storage account.", Reason::StorageIdentityMissing, false),
        (401, "Unable to get access token for storage account.", Reason::StorageIdentityMissing, false),
        (404, "The storage account not found.", Reason::StorageAccountNotFound, false),
        (
            400,
            "The specifed resource name contains invalid characters. ErrorCode: InvalidResourceName",
            Reason::StorageRejected,
            false,
        ),
        (409, "The specified container is being deleted.", Reason::StorageRejected, false),
        (400, "The given storage uri is invalid", Reason::StorageNotConfigured, false),
        (400, "The given connection settings is not in proper format.", Reason::StorageNotConfigured, false),
        (
            400,
            "Storage account connection string was updated during an export job.",
            Reason::StorageChanged,
            false,
        ),
        (400, "Group 4711 was not found.", Reason::GroupNotFound, false),
        (400, "Anonymization configuration 'deid.json' not found.", Reason::AnonymizationFailed, false),
        (400, "Failed to parse configuration file…", Reason::AnonymizationFailed, false),
        (400, "Failed to anonymize resource…", Reason::AnonymizationFailed, false),
        (429, "The request rate is too large.", Reason::DatabaseThrottled, true),
        (413, "Out of memory; set _maxCount below 1000.", Reason::OutOfMemory, false),
        (413, "The job record is too large.", Reason::JobTooLarge, false),
        (500, "Job has been retried too many times.", Reason::JobRestartedTooOften, true),
        (500, "Processing job had no results", Reason::JobDied, true),
        (500, "Unknown Error.", Reason::ExportFailed, true),
        (400, "Resource type 'Patent' is unknown.", Reason::ExportFailed, false),
    ];
    for (code, text, reason, transient) in rows {
        let StatusAnswer::JobFailed(failure) =
            status(&answer(code, "processing", &format!("{JOB_FAILED} {text}")))
        else {
            panic!("{code} {text} is not a failed job");
        };
        assert_eq!((failure.reason, failure.transient), (reason, transient), "{code} {text}");
        assert!(!failure.words.contains(JOB_FAILED));
    }
}

#[test]
fn the_same_code_can_mean_something_else() {
    assert!(matches!(
        status(&answer(403, "forbidden", "Authorization failed.")),
        StatusAnswer::NotNow(r) if r.reason == Reason::Forbidden
    ));
    assert!(matches!(
        status(&answer(401, "login", "Authentication failed.")),
        StatusAnswer::NotNow(r) if r.reason == Reason::Unauthorized
    ));
    assert!(matches!(
        status(&answer(429, "throttled", "The maximum number …")),
        StatusAnswer::NotNow(r) if r.reason == Reason::Throttled
    ));
    assert!(matches!(
        status(&answer(404, "not-found", "The requested job \"7\" was not found.")),
        StatusAnswer::Gone(_)
    ));
    for code in [404, 410] {
        let absent = status(&plain(code, "<html>"));
        assert!(matches!(absent, StatusAnswer::Absent(r) if r.reason == Reason::UnexpectedAnswer), "{code}");
    }
    assert!(matches!(
        status(&answer(400, "invalid", "x")),
        StatusAnswer::Refused(r) if r.reason == Reason::StatusRefused
    ));
    for code in [408, 500, 502, 503, 504] {
        assert!(matches!(status(&plain(code, "")), StatusAnswer::Transient(_)), "{code}");
        assert!(matches!(status(&answer(code, "exception", "x")), StatusAnswer::Transient(_)), "{code}");
    }
    assert_eq!(status(&plain(202, "")), StatusAnswer::Running);
    assert_eq!(status(&plain(200, "")), StatusAnswer::Done);
    assert!(matches!(status(&plain(302, "")), StatusAnswer::Refused(_)));
}

#[test]
fn kick_offs() {
    let located = Answer { status: 202, content_location: Some("https://x/1".into()), ..Answer::default() };
    assert_eq!(kick_off(&located), KickOffAnswer::Accepted(Some("https://x/1".into())));
    assert_eq!(kick_off(&plain(202, "")), KickOffAnswer::Accepted(None));
    assert!(matches!(
        kick_off(&answer(400, "invalid", "x")),
        KickOffAnswer::Rejected(r) if r.reason == Reason::KickOffRejected
    ));
    for code in [500, 503] {
        assert!(matches!(kick_off(&answer(code, "exception", "x")), KickOffAnswer::Failed(_)), "{code}");
    }
    for code in [200, 204, 408, 500, 502, 503, 504] {
        assert!(matches!(kick_off(&plain(code, "<html>")), KickOffAnswer::Uncertain(_)), "{code}");
    }
    for code in [301, 307, 400, 401, 403, 404, 405, 429] {
        assert!(matches!(kick_off(&plain(code, "<html>")), KickOffAnswer::NotNow(_)), "{code}");
    }
}

#[test]
fn cancels() {
    for code in [200, 202, 204, 404, 410] {
        assert_eq!(cancel(&plain(code, "")), CancelAnswer::Settled, "{code}");
    }
    for code in [200, 404, 410] {
        let page = cancel(&plain(code, " <html>default backend</html>"));
        assert!(matches!(page, CancelAnswer::Again(r) if r.reason == Reason::UnexpectedAnswer), "{code}");
        let words = cancel(&answer(code, "not-found", "no such job"));
        assert_eq!(words, CancelAnswer::Settled, "{code}");
    }
    assert_eq!(cancel(&answer(409, "conflict", "x")), CancelAnswer::AlreadyFinished);
    assert_eq!(cancel(&answer(500, "exception", "x")), CancelAnswer::Look);
    for (code, reason) in [
        (401, Reason::Unauthorized),
        (403, Reason::Forbidden),
        (429, Reason::Throttled),
        (503, Reason::ServerError),
    ] {
        assert!(matches!(cancel(&plain(code, "")), CancelAnswer::Again(r) if r.reason == reason), "{code}");
    }
}

/// Cancels of both dialects get this message, and the role exists only on Azure.
#[test]
fn a_refused_cancel_names_no_role_of_azure() {
    let CancelAnswer::Again(refusal) = cancel(&answer(403, "forbidden", "no")) else { panic!("not again") };
    assert!(!refusal.message.contains("FHIR Data Exporter"), "{}", refusal.message);
}

#[test]
fn every_code_and_body_is_survived() {
    for code in 100..=599 {
        for a in [plain(code, ""), plain(code, "{"), answer(code, "processing", JOB_FAILED)] {
            let _ = (kick_off(&a), status(&a), cancel(&a));
        }
    }
}
