//! Certificates for tests, with an authority of their own each time.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Files of one certificate.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The certificate, PEM.
    pub(crate) cert: PathBuf,
    /// Its key, PEM.
    pub(crate) key: PathBuf,
    /// Both in one file, as MongoDB wants them.
    pub(crate) both: PathBuf,
}

/// Who signs certificates of this machine.
#[derive(Debug)]
pub(crate) struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, PEM.
    pub(crate) pem: String,
    /// The same as a file.
    pub(crate) ca: PathBuf,
}

impl Authority {
    /// A new one, with its files in `dir`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        std::fs::create_dir_all(dir)?;
        let ca = dir.join("ca.pem");
        std::fs::write(&ca, &pem)?;
        Ok(Self { dir: dir.to_owned(), issuer: Issuer::new(params, key), pem, ca })
    }

    /// A certificate for 127.0.0.1, good for servers and clients, in files of this name.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn certificate(&self, name: &str) -> anyhow::Result<Certificate> {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?.pem();
        let key = key.serialize_pem();
        let file = |ending: &str| self.dir.join(format!("{name}{ending}"));
        let files = Certificate { cert: file(".pem"), key: file(".key"), both: file(".both.pem") };
        std::fs::write(&files.cert, &cert)?;
        std::fs::write(&files.key, &key)?;
        std::fs::write(&files.both, cert + &key)?;
        Ok(files)
    }
}
