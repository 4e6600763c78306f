//! How the operator authenticates to a FHIR server.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyRef, NameRef};

/// How the operator authenticates to a FHIR server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthType {
    /// No authentication: the server is open.
    None,
    /// Microsoft Entra ID.
    Entra,
    /// SMART Backend Services: a signed client assertion, no shared secret.
    SmartBackendServices,
    /// OAuth 2.0 client credentials with a client secret.
    #[serde(rename = "OAuthClientSecret")]
    OAuthClientSecret,
    /// A fixed bearer token.
    BearerToken,
    /// User name and password.
    Basic,
}

/// How to authenticate: `type` selects the method, and the field of the same name configures it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Entra') == has(self.entra)")
        .message("entra is required when type is Entra, and forbidden otherwise")
        .field_path(".entra")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'SmartBackendServices') == has(self.smartBackendServices)")
        .message("smartBackendServices is required when type is SmartBackendServices, and forbidden \
            otherwise")
        .field_path(".smartBackendServices")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'OAuthClientSecret') == has(self.oauthClientSecret)")
        .message("oauthClientSecret is required when type is OAuthClientSecret, and forbidden otherwise")
        .field_path(".oauthClientSecret")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'BearerToken') == has(self.bearerToken)")
        .message("bearerToken is required when type is BearerToken, and forbidden otherwise")
        .field_path(".bearerToken")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'Basic') == has(self.basic)")
        .message("basic is required when type is Basic, and forbidden otherwise")
        .field_path(".basic")
        .reason(Reason::FieldValueInvalid)
)]
pub struct ServerAuth {
    /// None (an open server), Entra, SmartBackendServices, OAuthClientSecret, BearerToken or Basic.
    #[serde(rename = "type")]
    pub type_: AuthType,
    /// Settings for type Entra: an identity of Microsoft Entra ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<Entra>,
    /// Settings for type SmartBackendServices: the client signs an assertion with a private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smart_backend_services: Option<SmartBackendServices>,
    /// Settings for type OAuthClientSecret: OAuth 2.0 client credentials with a client secret.
    #[serde(rename = "oauthClientSecret", default, skip_serializing_if = "Option::is_none")]
    pub oauth_client_secret: Option<OAuthClientSecret>,
    /// Settings for type BearerToken: a fixed bearer token from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<BearerToken>,
    /// Settings for type Basic: a user name and a password from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
}

/// The kinds of Entra credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EntraType {
    /// A federated Kubernetes ServiceAccount.
    WorkloadIdentity,
    /// The managed identity of the node or pod that the operator runs on.
    ManagedIdentity,
    /// A client secret.
    ClientSecret,
}

/// The Azure clouds, each with its own Entra authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Cloud {
    /// The public cloud.
    #[default]
    AzurePublic,
    /// Azure Government, the cloud for US government agencies.
    #[serde(rename = "AzureUSGovernment")]
    AzureUsGovernment,
    /// Azure operated by 21Vianet in China.
    AzureChina,
}

/// An identity of Microsoft Entra ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'ManagedIdentity' || has(self.tenantID)")
        .message("tenantID is required")
        .field_path(".tenantID")
        .reason(Reason::FieldValueRequired),
    validation = Rule::new("self.type == 'ManagedIdentity' || has(self.clientID)")
        .message("clientID is required")
        .field_path(".clientID")
        .reason(Reason::FieldValueRequired),
    validation = Rule::new("self.type == 'WorkloadIdentity' || !has(self.workloadIdentity)")
        .message("workloadIdentity is forbidden unless type is WorkloadIdentity")
        .field_path(".workloadIdentity")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("(self.type == 'ClientSecret') == has(self.clientSecretRef)")
        .message("clientSecretRef is required when type is ClientSecret, and forbidden otherwise")
        .field_path(".clientSecretRef")
        .reason(Reason::FieldValueInvalid)
)]
pub struct Entra {
    /// How the operator proves the identity: WorkloadIdentity (a federated ServiceAccount), ManagedIdentity
    /// (that of the node or pod that the operator runs on) or ClientSecret.
    #[serde(rename = "type")]
    pub type_: EntraType,
    /// The Entra tenant: its GUID or one of its domain names. Required unless type is ManagedIdentity.
    #[serde(rename = "tenantID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9.-]+$"))]
    pub tenant_id: Option<String>,
    /// The client (application) id of the identity. Required unless type is ManagedIdentity, where its
    /// absence selects the system-assigned identity.
    #[serde(rename = "clientID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub client_id: Option<String>,
    /// The cloud that the tenant belongs to: AzurePublic (default), AzureUSGovernment or AzureChina.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Cloud>,
    /// The audience to request a token for. Default: the origin of the server's `url`. Any other value must
    /// be on the operator's list (flag `--entra-audiences`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^(https|api)://[^\s?#]+$"))]
    pub audience: Option<String>,
    /// The ServiceAccount that is federated with the identity. Default: the operator's own, if the operator's
    /// flag `--own-identity-namespaces` lists this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,
    /// The Secret key that holds the client secret; only with type ClientSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_ref: Option<KeyRef>,
}

/// A ServiceAccount that is federated with an Entra identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// A ServiceAccount in the namespace of this FhirServer. It must carry the label
    /// `fhirexport.dev/credential: "true"`, and its annotation `azure.workload.identity/client-id` must equal
    /// `clientID`.
    pub service_account_ref: NameRef,
}

/// A SMART Backend Services client, which signs its assertions with RS384 or ES384.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmartBackendServices {
    /// The client id that the server issued at registration.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 1, max = 512))]
    pub client_id: String,
    /// The `kid` that goes into each assertion. Set it when the server knows several keys of this client.
    /// Default: the `kid` of a JWK, else the key's thumbprint (RFC 7638).
    #[serde(rename = "keyID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub key_id: Option<String>,
    /// The Secret key that holds the private key, as PEM or as a JWK; the operator detects which.
    pub private_key_secret_ref: KeyRef,
    /// URL of the token endpoint. Default: the one in the server's SMART configuration
    /// (`.well-known/smart-configuration`).
    #[serde(rename = "tokenURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://[^\s#@]+$"))]
    pub token_url: Option<String>,
    /// Scopes to request. Default: `system/*.read`, or `system/*.rs` if the server's SMART configuration says
    /// that it supports SMART 2 scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub scopes: Option<Vec<String>>,
}

/// An OAuth 2.0 client with a client secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuthClientSecret {
    /// URL of the token endpoint.
    #[serde(rename = "tokenURL")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://[^\s#@]+$"))]
    pub token_url: String,
    /// The client id.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 1, max = 512))]
    pub client_id: String,
    /// The Secret key that holds the client secret.
    pub secret_ref: KeyRef,
    /// Scopes to request. Default: none are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub scopes: Option<Vec<String>>,
}

/// A fixed bearer token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BearerToken {
    /// The Secret key that holds the token, without the word `Bearer`. The operator picks up a changed Secret
    /// within a minute, or at once when the server rejects the old token.
    pub secret_ref: KeyRef,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// A Secret of type `kubernetes.io/basic-auth`, with the keys `username` and `password`.
    pub secret_ref: NameRef,
}
