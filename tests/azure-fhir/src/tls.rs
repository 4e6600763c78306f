//! A certificate authority for one test run.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::Error;

/// A certificate authority made at start. Clients must be given [`TestCa::pem`].
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl std::fmt::Debug for TestCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestCa")
    }
}

impl TestCa {
    /// A new authority with a new key.
    pub fn new() -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "azure-fhir test authority");
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// The authority's certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate and its key, both PEM, for `localhost`, `127.0.0.1` and `names`; for other servers of a test.
    pub fn issue(&self, names: &[&str]) -> Result<(String, String), Error> {
        let (certificate, key) = self.leaf(names)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    fn leaf(&self, names: &[&str]) -> Result<(rcgen::Certificate, KeyPair), Error> {
        let mut all = vec!["localhost".to_owned()];
        all.extend(names.iter().map(|&name| name.to_owned()));
        let mut params = CertificateParams::new(all)?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.distinguished_name.push(DnType::CommonName, "azure-fhir");
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?, key))
    }

    /// What accepts https on this machine.
    pub fn acceptor(&self) -> Result<TlsAcceptor, Error> {
        let (certificate, key) = self.leaf(&[])?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        // Named here, since more than one provider can be in the program.
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
