//! The reasons of conditions and events. They are public API: words in `PascalCase`, each with its meaning
//! and with advice.

use std::fmt;

macro_rules! reasons {
    ($($name:ident : $meaning:literal => $advice:literal),+ $(,)?) => {
        /// Why a condition has its status, or what an event is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $meaning] $name),+ }

        impl Reason {
            /// All reasons, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),+];

            /// The word in `reason` of a condition or event.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name)),+ }
            }

            /// The meaning of the reason, as one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$name => $meaning),+ }
            }

            /// What the reader should do; empty if there is nothing to do.
            pub fn advice(self) -> &'static str {
                match self { $(Reason::$name => $advice),+ }
            }
        }
    };
}

reasons! {
    // Before the kick-off
    Allowed: "The server admits this export." => "",
    KickedOff: "The server accepted the export." => "",
    Starting: "The kick-off is about to be sent." => "",
    Finished: "The run has ended." => "",
    Queued: "The server already runs as many exports as its limits admit."
        => "Wait, or raise limits.maxConcurrentExports or limits.maxConcurrentPerGroup of the FhirServer.",
    ServerNotFound: "There is no FhirServer of that name."
        => "Create it, or correct serverRef in a new FhirExport.",
    Probing: "The operator has not examined the FhirServer yet." => "Wait a few moments.",
    PatientsInvalid: "The list of patients cannot be used."
        => "Correct what the message names: one reference per line, and for a blob its sha256.",
    ServerDeleting: "The FhirServer is being deleted." => "Create it again.",
    ServerChanged: "The FhirServer was recreated with another URL while a job ran on the old one."
        => "Restore the FhirServer with its former URL, or cancel the export.",
    NamespaceNotAllowed: "The FhirServer does not admit exports of this namespace."
        => "Ask its owner to admit the namespace in spec.consumers.",
    NotAllowed: "The FhirServer does not allow this export."
        => "Export what spec.allow of the FhirServer names, or ask its owner to allow more.",
    WaitingToRetry: "The last try failed, and the next one follows later."
        => "Read the message; status.nextAttemptTime says when.",
    Suspended: "spec.suspend pauses the export." => "Set suspend to false.",
    ServerSuspended: "spec.suspend of the FhirServer pauses the export."
        => "Ask the owner of the FhirServer.",
    Resumed: "The export is no longer paused." => "",
    SecretNotFound: "A Secret that the FhirServer names does not exist."
        => "Create it in the namespace of the FhirServer.",
    SecretKeyMissing: "The Secret lacks the key." => "Add the key, or correct the reference.",
    SecretInvalid: "The content of the Secret cannot be used." => "Correct its value.",
    CredentialNotLabelled: "The Secret or ServiceAccount is not marked as a credential."
        => "Label it fhirexport.dev/credential=true if it is meant to be used here.",
    ServiceAccountNotFound: "The ServiceAccount does not exist."
        => "Create it in the namespace of the FhirServer.",
    ServiceAccountMismatch:
        "The ServiceAccount's annotation azure.workload.identity/client-id differs from clientID."
        => "Make them equal.",
    OwnIdentityNotAllowed: "This namespace may not use the operator's own identity."
        => "Use a ServiceAccount of the namespace, or ask the operator's owner for the flag \
            --own-identity-namespaces.",
    AudienceNotAllowed: "The audience is not on the operator's list."
        => "Remove audience, or ask the operator's owner for the flag --entra-audiences.",
    StorageHostNotAllowed: "The operator sends no token to the host of the blob endpoint or of the token service for S3."
        => "Correct storage, or ask the operator's owner for the flag --storage-hosts.",
    VolumeNotAllowed: "The namespace of the FhirServer may not use the folder of the volume."
        => "Correct storage.volume, or ask the operator's owner to grant the folder (volumes in the chart).",
    VolumeNotMounted: "The volume is not mounted into the operator."
        => "Correct storage.volume.claimName, or ask the operator's owner to mount it (volumes in the chart).",
    ConnectionNotAllowed: "The operator is not permitted to read what the connection needs."
        => "Add the namespace to credentialNamespaces of the chart, or bind the Role in the chart's README there.",
    StartWindowMissed: "The run could not start before kickOffBefore."
        => "Create a new FhirExport if the data is still wanted.",
    UnsupportedByServer: "The server cannot do what the request asks." => "Remove what the message names.",
    InvalidSpec: "The object breaks a rule that the schema did not enforce."
        => "Correct what the message names in a new FhirExport.",
    // Answers of the server
    Reachable: "The server answers." => "",
    Unauthorized: "The server rejects the credentials (401)."
        => "Check auth of the FhirServer: the identity, its tenant and the audience.",
    Forbidden: "The identity may not export (403)."
        => "Grant it the right to export (on Azure: the role FHIR Data Exporter on the FHIR service, which \
            takes minutes to take effect).",
    Throttled: "The server is throttling requests (429)."
        => "Wait; lower limits.maxConcurrentExports if it persists.",
    HostNotFound: "The host name does not resolve." => "Check url, and the cluster's DNS.",
    AddressNotAllowed: "The operator does not connect to the address of the host."
        => "Correct url, tokenURL or the storage endpoint; if the message names --refused-networks, ask the \
            operator's owner.",
    ConnectionFailed: "The connection was refused or lost." => "Check url, the network policy and firewalls.",
    TLSFailed: "The server's certificate is not trusted, or the handshake failed."
        => "Check url, and tls.caBundleRef if the server has a private authority.",
    TimedOut: "The server did not answer in time."
        => "Check the server; raise limits.requestTimeoutSeconds if it is slow.",
    ServerError: "The server failed (5xx)." => "Check the server.",
    UnexpectedAnswer: "The server answered something that is not FHIR."
        => "Check url, and any proxies in between.",
    TokenRefused: "The identity provider refuses the credential."
        => "Look up the code in the message; check the client id, and the secret, the registered key or the \
            federated credential.",
    TokenUnavailable: "The identity provider cannot be reached." => "Check the network policy and firewalls.",
    NotContacted: "The operator has not sent a request yet." => "",
    // A kick-off whose answer was lost
    AnswerLost: "The answer to the kick-off was lost; a job may be running unnoticed."
        => "Wait while the operator searches the container for the job; see onUncertainKickOff.",
    JobAdopted: "The operator found a job in the container that is probably this export's."
        => "Wait: its manifest will prove it.",
    JobConfirmed: "The manifest proves that the job belongs to this export." => "",
    NoJobFound: "No job was found; one may still be running unnoticed."
        => "Look on the server for an export that nobody is waiting for.",
    KickOffUncertain: "The answer to the kick-off was lost and onUncertainKickOff is Fail."
        => "Look for the job on the server, then create a new FhirExport.",
    NoStatusURL: "The server accepted the export but sent no status URL."
        => "Check for proxies that remove the header Content-Location; a job may be running unnoticed.",
    // Results of exports
    Exported: "All files are in the container." => "",
    CompletedWithErrors: "The files are in the container, and the server also reports errors."
        => "Read the error files.",
    ServerReportedErrors: "The server reports errors, and errorFilePolicy is Fail."
        => "Read the error files.",
    KickOffRejected: "The server rejects the request."
        => "Read the server's answer in the message; correct the request in a new FhirExport.",
    KickOffFailed: "The server failed at each kick-off." => "Check the server, then create a new FhirExport.",
    DeadlineExceeded: "The run took longer than activeDeadlineSeconds."
        => "Raise it, or ask for less data, in a new FhirExport.",
    Cancelled: "The export was cancelled." => "",
    CancelUnconfirmed: "The server did not confirm the cancel." => "Look for the job on the server.",
    Cancelling: "The job is being cancelled." => "",
    Abandoned: "The object was deleted with deletionPolicy Abandon; the job continues on the server." => "",
    JobLost: "The server no longer knows the job."
        => "It was cancelled by somebody else, or it expired; create a new FhirExport.",
    JobNotOurs: "The job that the operator found turned out to belong to somebody else."
        => "Create a new FhirExport.",
    ExportFailed: "The server could not finish the export." => "Read the server's answer in the message.",
    StatusRefused: "The server refuses to report the job's status."
        => "Read the server's answer in the message.",
    StorageAccessDenied: "The FHIR service may not write to the storage account."
        => "Give its managed identity the role Storage Blob Data Contributor on the account, or open the \
            account's firewall to the service.",
    StorageIdentityMissing: "The FHIR service has no identity to write with."
        => "Enable its system-assigned managed identity and give it Storage Blob Data Contributor.",
    StorageAccountNotFound: "The storage account that the FHIR service is configured with does not exist."
        => "Correct it in the FHIR service's Export settings.",
    StorageNotConfigured: "The FHIR service has no usable storage account."
        => "Set it in the FHIR service's Export settings.",
    StorageChanged: "The FHIR service's storage settings were changed during the export."
        => "Create a new FhirExport.",
    StorageRejected: "The storage account refused what the FHIR service wrote."
        => "Read the storage account's answer in the message; check the container, then create a new \
            FhirExport.",
    GroupNotFound: "There is no such Group on the server." => "Correct groupID in a new FhirExport.",
    AnonymizationFailed: "The de-identification failed."
        => "Check the configuration file, its path and its ETag.",
    DatabaseThrottled: "The server's database was overloaded."
        => "Try at a quieter time, or scale the service up.",
    OutOfMemory: "The server ran out of memory."
        => "Set request.azure.maxCount to a tenth of what the message names.",
    JobTooLarge: "The export is too large for the server's job record."
        => "Export a shorter period, or fewer types.",
    JobRestartedTooOften: "The server restarted the job too often."
        => "Try again; contact the server's owner if it persists.",
    JobDied: "Part of the server's job died without a result."
        => "Try again; contact the server's owner if it persists.",
    InvalidManifest: "The server reports the job as done, but its manifest cannot be read."
        => "Check any proxies in between; the files may be in the container.",
    LinkExpired: "The links to the files were rejected, including fresh ones."
        => "Check that the identity may read the files; create a new FhirExport.",
    DownloadFailed: "A file could not be downloaded."
        => "Read the message; check the server and any proxies in between.",
    DownloadRefused: "The server refuses to hand out a file." => "Contact the server's owner.",
    OriginNotAllowed: "The files are at an origin that the operator may not download from."
        => "Add the origin to fileOrigins of the FhirServer (to trustedOrigins if it needs the token).",
    UploadFailed: "A file could not be written to the storage."
        => "Read the message; check the storage, then create a new FhirExport.",
    SourceChanged: "Files that landed earlier differ from what the server's manifest now lists."
        => "Create a new FhirExport.",
    TaskPanicked: "A task of the operator ended by a defect; it is started again."
        => "Report it with the operator's log of that time.",
    CleanUpFailed: "The operator could not tell the server to forget a finished job."
        => "Look for the job on the server.",
    StorageMismatch: "The files are not in the storage account of the FhirServer."
        => "Set storage.azureBlob.endpoint to the account that the FHIR service exports to.",
    VerificationFailed: "The files in the container do not match the manifest."
        => "Quarantine the data; export again, and contact the server's owner.",
    // Whether the data was checked
    CountsMatch: "All files exist and hold as many resources as the manifest says." => "",
    ChecksumMismatch: "A file does not match the server's checksum or length."
        => "Quarantine the data; export again.",
    TypesMissing: "A requested type has no file, although the server has resources of it."
        => "Check bulkData.listStyle of the FhirServer (Comma or Repeat); export again.",
    PartlyChecked: "All files exist; not all of them were counted."
        => "Raise storage.verifyMaxBytes to have more files counted.",
    NoStorageAccess: "The operator cannot read the container."
        => "Set storage on the FhirServer and give the identity Storage Blob Data Reader (Contributor to \
            store the manifest). On a volume: read the message; its group must be the operator's, and there must \
            be room.",
    StorageUnreachable: "The storage did not answer."
        => "Check the network policy and the account's firewall; of a volume, its file server.",
    FileMissing: "A file of the manifest is not in the container." => "Quarantine the data; export again.",
    FileTruncated: "A file ends in the middle of a line, twice in the same place."
        => "Quarantine the data; export again, and contact the server's owner.",
    WrongType: "A file holds another resource type than the manifest names for it."
        => "Quarantine the data; export again, and contact the server's owner.",
    CountMismatch: "A file does not hold as many resources as the manifest says."
        => "Quarantine the data; export again.",
    // Conditions of a FhirServer
    ProbeSucceeded: "The server answers as expected." => "",
    WrongDialect: "The server's software is not what dialect says."
        => "Create a FhirServer with the right dialect.",
    NotTried: "The server shows its metadata to anybody, so the credentials have not been tested."
        => "The first export will test them.",
    NotRequired: "The server asks for no credentials." => "",
    TokenAccepted: "The server accepts the token." => "",
    ContainerListed: "The operator can list the storage account, or use the volume." => "",
    ContainerNotFound: "The container does not exist yet." => "Create it, or let the FHIR service create it.",
    NotConfigured: "The FhirServer has no storage." => "Set storage to have files checked.",
    // Schedules
    Scheduled: "The schedule creates its runs." => "",
    InvalidSchedule: "The schedule or its time zone is invalid, or the schedule is never due."
        => "Correct what the message names: five cron fields, and a time zone such as Europe/Berlin.",
    IncrementalLosesData: "Incremental exports of level Patient or Group leave out changes on this server."
        => "Use level System with types, or set incremental.acceptLoss and a fullSchedule.",
    RunCreated: "The schedule created a FhirExport." => "",
    CreationRefused: "The API server rejects the FhirExport that the schedule creates."
        => "Read its answer in the message; correct the template, a quota or a policy.",
    AdoptionRefused: "An object that the schedule did not create has the name of its run."
        => "Delete or rename that object; the next run has another name.",
    StillRunning: "A run was due while another one was still running, and concurrencyPolicy is Forbid."
        => "Schedule runs further apart, or choose Replace.",
    Replaced: "A run was deleted because the next one was due, and concurrencyPolicy is Replace."
        => "Schedule runs further apart.",
    NoRunYet: "No run has ended yet." => "",
    RunSucceeded: "The last run succeeded." => "",
    RunFailed: "The last run did not succeed." => "Look at the FhirExport that the message names.",
    RunLost: "A run was deleted before the schedule recorded its result."
        => "Nothing is lost: the next run repeats it.",
    Chained: "All changes so far are exported, without a gap." => "",
    Repeating: "The last run does not count; the next one repeats it from the same instant."
        => "Look at the FhirExport that the message names.",
    NoFullRunYet: "No full run has succeeded yet, so the next run is full." => "",
    RequestChanged: "The server or the request changed, so the next run is full and begins a new chain."
        => "Load the new chain, starting with its full run.",
    FullScheduled: "fullSchedule asks for a full run." => "",
    FullRequested: "A full run was requested." => "",
    TransactionTimeWentBack: "The server's clock went back, so changes may be missing; the next run is full."
        => "Check the clock of the FHIR server.",
    ClockWentBack: "The operator's clock was ahead, so some runs have times in the future."
        => "Check the clocks of the nodes.",
    LossAccepted: "Incremental runs leave out changes on this server, as acceptLoss permits."
        => "Use level System with types; full runs contain what is missing.",
    NewMembersIncomplete: "Of patients that joined the group, only what changed since was exported."
        => "Set a fullSchedule, which exports the rest, and bulkData.supportsPatient of the FhirServer to \
            Yes if it accepts lists of patients.",
    MembersUnknown: "The members of the group at the last run are not known, so the next run is full."
        => "Read the message; the full run closes the gap. If the server does not report the members of the \
            group, set bulkData.supportsPatient of the FhirServer to No.",
    TooManyNewcomers: "More patients joined the group than a list can name, so the run is full." => "",
    NewcomersRefused:
        "The server rejected the list of patients that joined the group, so the next run is full."
        => "Set bulkData.supportsPatient of the FhirServer to No if it accepts no lists of patients.",
    Retained: "No folders are kept beyond what spec.retention says." => "",
    FolderDeleted: "The folder of an old run was deleted, as spec.retention says." => "",
    FolderKept:
        "The operator keeps the folder of an old run, because it cannot be certain that the folder belongs \
        to this schedule alone and is unchanged."
        => "Read the message; delete the folder by hand if nobody needs it.",
    DeletionFailed: "The folder of an old run could not be deleted; the operator retries."
        => "Read the message: the identity needs Storage Blob Data Contributor, and no immutability policy, \
            legal hold or lease may hold a file; on a volume the operator must be allowed to write.",
    ContainerNeeded: "Runs have no folders of their own, so nothing is deleted."
        => "Name request.container in the template, or defaultContainer of the FhirServer.",
    DependencyMissing: "Something that the FhirServer names is missing or cannot be used."
        => "Read the message.",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
