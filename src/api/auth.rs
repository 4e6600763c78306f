//! How the operator proves who it is to a FHIR server.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyRef, NameRef};

/// The ways to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthType {
    /// An open server.
    None,
    /// Microsoft Entra ID.
    Entra,
    /// SMART Backend Services.
    SmartBackendServices,
    /// OAuth 2.0 client credentials with a client secret.
    #[serde(rename = "OAuthClientSecret")]
    OAuthClientSecret,
    /// A fixed bearer token.
    BearerToken,
    /// User name and password.
    Basic,
}

/// How to authenticate: `type`, and the member of that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Entra') == has(self.entra)").message("entra is required when type is Entra, and forbidden otherwise").field_path(".entra").reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'SmartBackendServices') == has(self.smartBackendServices)").message("smartBackendServices is required when type is SmartBackendServices, and forbidden otherwise").field_path(".smartBackendServices").reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'OAuthClientSecret') == has(self.oauthClientSecret)").message("oauthClientSecret is required when type is OAuthClientSecret, and forbidden otherwise").field_path(".oauthClientSecret").reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'BearerToken') == has(self.bearerToken)").message("bearerToken is required when type is BearerToken, and forbidden otherwise").field_path(".bearerToken").reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'Basic') == has(self.basic)").message("basic is required when type is Basic, and forbidden otherwise").field_path(".basic").reason(Reason::FieldValueInvalid)
)]
pub struct ServerAuth {
    /// None (an open server), Entra, SmartBackendServices, OAuthClientSecret, BearerToken or Basic.
    #[serde(rename = "type")]
    pub type_: AuthType,
    /// Microsoft Entra ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<Entra>,
    /// SMART Backend Services: a signed assertion, no shared secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smart_backend_services: Option<SmartBackendServices>,
    /// OAuth 2.0 client credentials with a client secret.
    #[serde(rename = "oauthClientSecret", default, skip_serializing_if = "Option::is_none")]
    pub oauth_client_secret: Option<OAuthClientSecret>,
    /// A fixed bearer token from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<BearerToken>,
    /// User name and password from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
}

/// Kinds of Entra credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EntraType {
    /// A federated Kubernetes ServiceAccount.
    WorkloadIdentity,
    /// The managed identity of the node or pod that the operator runs on.
    ManagedIdentity,
    /// A client secret.
    ClientSecret,
    /// A client certificate.
    ClientCertificate,
}

/// The Azure clouds, each with an authority of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Cloud {
    /// The public cloud.
    #[default]
    AzurePublic,
    /// Azure for US Government.
    #[serde(rename = "AzureUSGovernment")]
    AzureUsGovernment,
    /// Azure operated by 21Vianet in China.
    AzureChina,
}

/// An identity of Microsoft Entra ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'ManagedIdentity' || has(self.tenantID)").message("tenantID is required").field_path(".tenantID").reason(Reason::FieldValueRequired),
    validation = Rule::new("self.type == 'ManagedIdentity' || has(self.clientID)").message("clientID is required").field_path(".clientID").reason(Reason::FieldValueRequired),
    validation = Rule::new("self.type == 'WorkloadIdentity' || !has(self.workloadIdentity)").message("workloadIdentity is forbidden unless type is WorkloadIdentity").field_path(".workloadIdentity").reason(Reason::FieldValueForbidden),
    validation = Rule::new("(self.type == 'ClientSecret') == has(self.clientSecretRef)").message("clientSecretRef is required when type is ClientSecret, and forbidden otherwise").field_path(".clientSecretRef").reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'ClientCertificate') == has(self.clientCertificateRef)").message("clientCertificateRef is required when type is ClientCertificate, and forbidden otherwise").field_path(".clientCertificateRef").reason(Reason::FieldValueInvalid)
)]
pub struct Entra {
    /// WorkloadIdentity, ManagedIdentity, ClientSecret or ClientCertificate.
    #[serde(rename = "type")]
    pub type_: EntraType,
    /// The tenant: a GUID or a domain name.
    #[serde(rename = "tenantID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9.-]+$"))]
    pub tenant_id: Option<String>,
    /// The client (application) id of the identity. ManagedIdentity: absent means the system-assigned one.
    #[serde(rename = "clientID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub client_id: Option<String>,
    /// AzurePublic (default), AzureUSGovernment or AzureChina.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Cloud>,
    /// The audience to ask a token for. Default: the origin of the server's `url`. Any other must be
    /// on the operator's list (flag `--entra-audiences`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^(https|api)://[^\s?#]+$"))]
    pub audience: Option<String>,
    /// Which ServiceAccount is federated. Absent: the operator's own, where its configuration allows
    /// that for this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,
    /// The client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_ref: Option<KeyRef>,
    /// The client certificate and its private key: PEM, both in one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<KeyRef>,
}

/// A federated ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// A ServiceAccount of the namespace of this FhirServer, with the label
    /// `fhirexport.dev/credential: "true"` and the annotation `azure.workload.identity/client-id`
    /// equal to `clientID`.
    pub service_account_ref: NameRef,
}

/// SMART Backend Services: RS384 or ES384.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmartBackendServices {
    /// The client id that the server issued.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 1, max = 512))]
    pub client_id: String,
    /// The `kid` of the key, if the server knows several.
    #[serde(rename = "keyID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub key_id: Option<String>,
    /// The private key: PEM or JWK, told apart by its content.
    pub private_key_secret_ref: KeyRef,
    /// The token endpoint. Default: what the server's SMART discovery says.
    #[serde(rename = "tokenURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://[^\s#@]+$"))]
    pub token_url: Option<String>,
    /// Scopes to ask for. Default: `system/*.read` or its v2 form, as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub scopes: Option<Vec<String>>,
}

/// OAuth 2.0 client credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuthClientSecret {
    /// The token endpoint.
    #[serde(rename = "tokenURL")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://[^\s#@]+$"))]
    pub token_url: String,
    /// The client id.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 1, max = 512))]
    pub client_id: String,
    /// The client secret.
    pub secret_ref: KeyRef,
    /// Scopes to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub scopes: Option<Vec<String>>,
}

/// A fixed bearer token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BearerToken {
    /// The token. A changed Secret is read again within a minute, and at once when the server refuses the token.
    pub secret_ref: KeyRef,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// A Secret of type `kubernetes.io/basic-auth`: keys `username` and `password`.
    pub secret_ref: NameRef,
}
