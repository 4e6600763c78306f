//! The reasons of conditions and events: public API, in `PascalCase`, each with its meaning and what to do.

use std::fmt;

macro_rules! reasons {
    ($($name:ident : $meaning:literal => $advice:literal),+ $(,)?) => {
        /// Why a condition is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $meaning] $name),+ }

        impl Reason {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),+];

            /// The word in the condition.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name)),+ }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$name => $meaning),+ }
            }

            /// What to do about it; empty where there is nothing to do.
            pub fn advice(self) -> &'static str {
                match self { $(Reason::$name => $advice),+ }
            }
        }
    };
}

reasons! {
    // On the way to the kick-off
    Allowed: "The server admits this export." => "",
    KickedOff: "The server accepted the export." => "",
    Starting: "The kick-off is about to be sent." => "",
    Finished: "The run has ended." => "",
    Queued: "As many exports run on the server as it admits." => "Wait, or raise limits.maxConcurrentExports or limits.maxConcurrentPerGroup of the FhirServer.",
    ServerNotFound: "There is no FhirServer of that name." => "Create it, or correct serverRef in a new FhirExport.",
    Probing: "The FhirServer was not looked at yet." => "Wait; it is looked at within moments.",
    PatientsInvalid: "The list of patients cannot be used." => "Correct what the message names: one reference a line, and for a blob its sha256.",
    ServerDeleting: "The FhirServer is being deleted." => "Create it anew.",
    ServerChanged: "The FhirServer was made anew with another URL while a job ran on the old one." => "Restore the FhirServer with its former URL, or cancel the export.",
    NamespaceNotAllowed: "The FhirServer does not admit exports of this namespace." => "Ask its owner to admit the namespace in spec.consumers.",
    NotAllowed: "The FhirServer does not allow this export." => "Export what spec.allow of the FhirServer names, or ask its owner to allow more.",
    WaitingToRetry: "The last try failed and the next is due later." => "Read the message; nextAttemptTime says when.",
    Suspended: "spec.suspend of the export holds it." => "Set suspend to false.",
    ServerSuspended: "spec.suspend of the FhirServer holds it." => "Ask the owner of the FhirServer.",
    Resumed: "The run is no longer held." => "",
    SecretNotFound: "A Secret that the FhirServer names does not exist." => "Create it in the namespace of the FhirServer.",
    SecretKeyMissing: "The Secret lacks the key." => "Add the key, or correct the reference.",
    SecretInvalid: "What the Secret holds cannot be used." => "Correct its value.",
    CredentialNotLabelled: "The Secret or ServiceAccount is not marked as a credential." => "Label it fhirexport.dev/credential=true if it is meant to be used here.",
    ServiceAccountNotFound: "The ServiceAccount does not exist." => "Create it in the namespace of the FhirServer.",
    ServiceAccountMismatch: "The ServiceAccount's annotation azure.workload.identity/client-id is not clientID." => "Make both the same.",
    OwnIdentityNotAllowed: "The operator's own identity does not serve this namespace." => "Use a ServiceAccount of the namespace, or ask the operator's owner for the flag --own-identity-namespaces.",
    AudienceNotAllowed: "The audience is not on the operator's list." => "Remove audience, or ask the operator's owner for the flag --entra-audiences.",
    StorageHostNotAllowed: "The blob endpoint is not a host that a token of Entra may go to." => "Correct storage.azureBlob.endpoint, or ask the operator's owner for the flag --storage-hosts.",
    ConnectionNotAllowed: "The operator may not read what the connection needs." => "Let the chart give the operator a Role in the namespace of the FhirServer.",
    StartWindowMissed: "The run could not start before kickOffBefore." => "Create a new FhirExport if the data is still wanted.",
    UnsupportedByServer: "The server cannot do what the request asks." => "Remove what the message names.",
    InvalidSpec: "The object breaks a rule that its schema did not check." => "Correct what the message names in a new FhirExport.",
    // The server's answers
    Reachable: "The server answers." => "",
    Unauthorized: "The server does not accept the credentials (401)." => "Check auth of the FhirServer: the identity, its tenant and the audience.",
    Forbidden: "The identity may not export (403)." => "Give it the right to (on Azure the role FHIR Data Exporter on the FHIR service; roles take minutes to work).",
    Throttled: "The server asks for patience (429)." => "Wait; lower limits.maxConcurrentExports if it stays.",
    HostNotFound: "The host name does not resolve." => "Check url, and the cluster's DNS.",
    AddressNotAllowed: "The host has an address that the operator does not connect to." => "Correct url, tokenURL or the storage endpoint; ask the operator's owner if it is in --refused-networks.",
    ConnectionFailed: "The connection was refused or broke." => "Check url, the network policy and firewalls.",
    TLSFailed: "The server's certificate is not trusted, or the handshake failed." => "Check url, and tls.caBundleRef if the server has a private authority.",
    TimedOut: "The server did not answer in time." => "Check the server; raise limits.requestTimeoutSeconds if it is slow.",
    ServerError: "The server failed (5xx)." => "Check the server.",
    UnexpectedAnswer: "The server answered something that is not FHIR." => "Check url, and proxies on the way.",
    TokenRefused: "The identity provider refuses the credential." => "Read its code in the message; check the client id, and the secret, the registered key or the federated credential.",
    TokenUnavailable: "The identity provider cannot be reached." => "Check the network policy and firewalls.",
    NotContacted: "No request was sent yet." => "",
    // A lost answer
    AnswerLost: "The answer to the kick-off was lost; a job may run unseen." => "Wait for the search of the container, and see onUncertainKickOff.",
    JobAdopted: "A job was found in the container that may be this one's." => "Wait: its manifest will prove it.",
    JobConfirmed: "The manifest proves that the job is this one's." => "",
    NoJobFound: "No job was found; one may still run unseen." => "Look at the server for an export that nobody waits for.",
    KickOffUncertain: "The answer to the kick-off was lost and onUncertainKickOff is Fail." => "Look for the job on the server, then create a new FhirExport.",
    NoStatusURL: "The server accepted the export but did not say where its status is." => "Check proxies that remove the header Content-Location; a job may run unseen.",
    // Ends
    Exported: "All files are in the container." => "",
    CompletedWithErrors: "The files are in the container, and the server reports errors beside them." => "Read the error files.",
    ServerReportedErrors: "The server reports errors beside the files, and errorFilePolicy is Fail." => "Read the error files.",
    KickOffRejected: "The server refuses the request." => "Read the server's words in the message; correct them in a new FhirExport.",
    KickOffFailed: "The server failed at the kick-off, each time." => "Check the server, then create a new FhirExport.",
    DeadlineExceeded: "The run took longer than activeDeadlineSeconds." => "Raise it, or ask for less data, in a new FhirExport.",
    Cancelled: "The export was cancelled." => "",
    CancelUnconfirmed: "The server did not confirm the cancel." => "Look for the job on the server.",
    Cancelling: "The job is being cancelled." => "",
    Abandoned: "The object was deleted with deletionPolicy Abandon; the job goes on." => "",
    JobLost: "The server no longer knows the job." => "Somebody cancelled it, or it expired; create a new FhirExport.",
    JobNotOurs: "The job that was found turned out to be somebody else's." => "Create a new FhirExport.",
    ExportFailed: "The server could not finish the export." => "Read the server's words in the message.",
    StatusRefused: "The server refuses to tell the job's status." => "Read the server's words in the message.",
    StorageAccessDenied: "The FHIR service may not write to the storage account." => "Give its managed identity the role Storage Blob Data Contributor on the account, or open the account's firewall to the service.",
    StorageIdentityMissing: "The FHIR service has no identity to write with." => "Switch on its system-assigned managed identity and give it Storage Blob Data Contributor.",
    StorageAccountNotFound: "The storage account that the FHIR service is configured with does not exist." => "Correct it in the FHIR service's Export settings.",
    StorageNotConfigured: "The FHIR service has no usable storage account." => "Set it in the FHIR service's Export settings.",
    StorageChanged: "The FHIR service's storage settings were changed during the export." => "Create a new FhirExport.",
    StorageRejected: "The storage account refused what the FHIR service wrote." => "Read the storage's words in the message; check the container, then create a new FhirExport.",
    GroupNotFound: "There is no such Group on the server." => "Correct groupID in a new FhirExport.",
    AnonymizationFailed: "The de-identification could not be done." => "Check the configuration file, its place and its ETag.",
    DatabaseThrottled: "The server's database was overloaded." => "Try at a quieter time, or scale the service up.",
    OutOfMemory: "The server ran out of memory." => "Set request.azure.maxCount to a tenth of what the message names.",
    JobTooLarge: "The export is too large for the server's job record." => "Export a shorter range of time, or fewer types.",
    JobRestartedTooOften: "The server restarted the job too often." => "Try again; tell the server's owner if it stays.",
    JobDied: "A part of the server's job died without a result." => "Try again; tell the server's owner if it stays.",
    InvalidManifest: "The server says that the job is done but its manifest cannot be read." => "Check proxies on the way; the files may be in the container.",
    LinkExpired: "The links to the files were refused, also fresh ones." => "Check that the identity may read the files; create a new FhirExport.",
    DownloadFailed: "A file could not be downloaded." => "Read the message; check the server and proxies on the way.",
    DownloadRefused: "The server refuses to give a file." => "Tell the server's owner.",
    OriginNotAllowed: "The files are at an origin that nothing may be fetched from." => "Add the origin to fileOrigins of the FhirServer (to trustedOrigins if it wants the token).",
    UploadFailed: "A file could not be written to the storage account." => "Read the message; check the storage account, then create a new FhirExport.",
    SourceChanged: "What landed earlier is not what the server's manifest now says." => "Create a new FhirExport.",
    CleanUpFailed: "The server could not be told that a finished job is done with." => "Look for the job on the server.",
    StorageMismatch: "The files are not in the storage account of the FhirServer." => "Set storage.azureBlob.endpoint to the account that the FHIR service exports to.",
    VerificationFailed: "The files in the container are not what the manifest says." => "Keep the data apart; export anew, and tell the server's owner.",
    // Whether the data was checked
    CountsMatch: "All files are there and hold as many resources as the manifest says." => "",
    ChecksumMismatch: "A file is not what the server's checksum or length says." => "Keep the data apart; export anew.",
    TypesMissing: "A requested type has no file although the server has resources of it." => "Check bulkData.listStyle of the FhirServer (Comma or Repeat); export anew.",
    PartlyChecked: "All files are there; not all of them were counted." => "Raise storage.verifyMaxBytes to have more counted.",
    NoStorageAccess: "The operator cannot look into the container." => "Set storage on the FhirServer and give the identity Storage Blob Data Reader (Contributor to store the manifest).",
    StorageUnreachable: "The storage account did not answer." => "Check the network policy and the account's firewall.",
    FileMissing: "A file of the manifest is not in the container." => "Keep the data apart; export anew.",
    CountMismatch: "A file does not hold as many resources as the manifest says." => "Keep the data apart; export anew.",
    // The server's own conditions
    ProbeSucceeded: "The server answers as it should." => "",
    WrongDialect: "The server's software is not what dialect says." => "Create a FhirServer with the right dialect.",
    NotTried: "The server shows its metadata to anybody, so the credentials were not tried." => "They are with the first export.",
    NotRequired: "The server asks for no credentials." => "",
    TokenAccepted: "The server accepts the token." => "",
    ContainerListed: "The operator can list the storage account." => "",
    ContainerNotFound: "The container does not exist yet." => "Create it, or let the FHIR service do so.",
    NotConfigured: "The FhirServer has no storage." => "Set storage to have files checked.",
    // Schedules
    Scheduled: "Runs are made as the schedule says." => "",
    InvalidSchedule: "The schedule, or its time zone, cannot be read or never comes." => "Correct what the message names: five fields of cron, and a zone such as Europe/Berlin.",
    IncrementalLosesData: "On this server incremental exports at level Patient or Group leave out changes." => "Use level System with types, or set incremental.acceptLoss and a fullSchedule.",
    RunCreated: "The schedule made a FhirExport." => "",
    CreationRefused: "The API server refuses the FhirExport that the schedule makes." => "Read its words in the message; correct the template, a quota or a policy.",
    AdoptionRefused: "An object that the schedule did not make has the name of its run." => "Delete or rename that object; the next run has another name.",
    StillRunning: "A run was due while another one was not done, and concurrencyPolicy is Forbid." => "Give runs more time between them, or choose Replace.",
    Replaced: "A run was deleted since the next one was due, and concurrencyPolicy is Replace." => "Give runs more time between them.",
    NoRunYet: "No run has ended yet." => "",
    RunSucceeded: "The last run succeeded." => "",
    RunFailed: "The last run did not succeed." => "Look at the FhirExport that the message names.",
    RunLost: "A run was deleted before its result was taken in." => "Nothing is lost: the next run repeats it.",
    Chained: "All changes so far are exported, without a gap." => "",
    Repeating: "The last run does not count; the next one repeats it from the same instant." => "Look at the FhirExport that the message names.",
    NoFullRunYet: "No full run has succeeded yet, so the next run is full." => "",
    RequestChanged: "The server or the request changed, so the next run is full and begins a new chain." => "Load the new chain from its full run on.",
    FullScheduled: "fullSchedule asks for a full run." => "",
    FullRequested: "A full run was asked for." => "",
    TransactionTimeWentBack: "The server's clock went back, so changes may be missing; the next run is full." => "Check the clock of the FHIR server.",
    ClockWentBack: "The operator's clock was ahead, so the times of its runs are in the future." => "Check the clocks of the nodes.",
    LossAccepted: "Incremental runs leave out changes on this server, as acceptLoss permits." => "Use level System with types; full runs bring what is missing.",
    NewMembersIncomplete: "Patients that joined the group have only what changed since." => "Set a fullSchedule, which brings the rest, and bulkData.supportsPatient of the FhirServer to Yes if it takes lists of patients.",
    MembersUnknown: "Who was in the group at the last run is not known, so the next run is full." => "Read the message; the full run makes it good. If the server does not tell who is in the group, set bulkData.supportsPatient of the FhirServer to No.",
    TooManyNewcomers: "More patients joined the group than a list can name, so the run is full." => "",
    NewcomersRefused: "The server did not take the list of patients that joined the group, so the next run is full." => "Set bulkData.supportsPatient of the FhirServer to No if it takes no lists of patients.",
    Retained: "No more is kept than spec.retention says." => "",
    FolderDeleted: "The folder of an old run was deleted, as spec.retention says." => "",
    FolderKept: "The folder of an old run stays, since it is not certain that it is this schedule's alone, or unchanged." => "Read the message; delete the folder by hand if nobody needs it.",
    DeletionFailed: "The folder of an old run could not be deleted; it is tried again." => "Read the message: the identity needs Storage Blob Data Contributor, and no immutability policy, legal hold or lease may hold a file.",
    ContainerNeeded: "Runs have no folder of their own, so nothing is deleted." => "Name request.container in the template, or defaultContainer of the FhirServer.",
    DependencyMissing: "Something that the FhirServer names is missing or cannot be used." => "Read the message.",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
