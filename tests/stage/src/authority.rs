use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::{Folder, Result};

/// A certificate authority for one test.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority whose certificate is `ca.crt` in `folder`.
    pub fn new(folder: &Folder) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "fhir-export-operator tests");
        let certificate = folder.write("ca.crt", params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The certificate to trust.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// A certificate for a server at 127.0.0.1 and localhost.
    pub fn server(&self, folder: &Folder, name: &str) -> Result<Issued> {
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        self.issue(folder, name, CertificateParams::new(names)?)
    }

    /// A certificate for a client, a user of Kubernetes in `group`.
    pub fn client(&self, folder: &Folder, user: &str, group: &str) -> Result<Issued> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::OrganizationName, group);
        self.issue(folder, user, params)
    }

    fn issue(&self, folder: &Folder, name: &str, mut params: CertificateParams) -> Result<Issued> {
        let key = KeyPair::generate()?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let file = name.replace(':', "-");
        Ok(Issued {
            certificate: folder.write(&format!("{file}.crt"), certificate.pem())?,
            key: folder.write(&format!("{file}.key"), key.serialize_pem())?,
        })
    }
}
