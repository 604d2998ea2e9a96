//! Which certificate a peer's description names (RFC 8122 s5): by any hash that is safe, in any
//! spelling, among any number of others.

use aws_lc_rs::digest::{self, Algorithm};

use crate::error::PeerError;

/// Hash functions that may name a certificate, strongest first (RFC 8122 s5.1: the strongest one
/// that is there counts, and any of its fingerprints will do).
const HASHES: [(&str, &Algorithm); 4] = [
    ("sha-512", &digest::SHA512),
    ("sha-384", &digest::SHA384),
    ("sha-256", &digest::SHA256),
    ("sha-224", &digest::SHA224),
];

/// The fingerprints of a peer's certificate.
#[derive(Default)]
pub(crate) struct Fingerprints {
    named: Vec<(&'static Algorithm, Vec<u8>)>,
}

impl Fingerprints {
    /// Whether a description's fingerprints can be used, and name the certificate that is known.
    pub(crate) fn check(&self, described: &[(String, Vec<u8>)]) -> Result<(), PeerError> {
        let named = strongest(described);
        if described.is_empty() || named.is_empty() {
            return Err(PeerError::NoFingerprint { is_weak: !described.is_empty() });
        }
        // Another certificate would be another association (RFC 8842 s4).
        let is_known = self.named.is_empty() || named.iter().any(|it| self.named.contains(it));
        if is_known { Ok(()) } else { Err(PeerError::CertificateChanged) }
    }

    /// Takes the fingerprints of a description that has been checked, the first time.
    pub(crate) fn adopt(&mut self, described: &[(String, Vec<u8>)]) {
        if self.named.is_empty() {
            self.named = strongest(described);
        }
    }

    /// Whether this is the certificate that is named.
    pub(crate) fn names(&self, certificate: &[u8]) -> bool {
        let is_it = |(hash, bytes): &(&'static Algorithm, Vec<u8>)| {
            digest::digest(hash, certificate).as_ref() == bytes.as_slice()
        };
        self.named.iter().any(is_it)
    }
}

/// The fingerprints by the strongest hash that we know.
fn strongest(described: &[(String, Vec<u8>)]) -> Vec<(&'static Algorithm, Vec<u8>)> {
    for (name, algorithm) in HASHES {
        let is_named = |(hash, bytes): &&(String, Vec<u8>)| {
            hash == name && bytes.len() == algorithm.output_len()
        };
        let named: Vec<_> = described.iter().filter(is_named).collect();
        if !named.is_empty() {
            return named.into_iter().map(|(_, bytes)| (algorithm, bytes.clone())).collect();
        }
    }
    Vec::new()
}

/// A certificate's fingerprint, as `a=fingerprint` has it.
pub(crate) fn sha_256(certificate: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, certificate);
    let bytes: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    format!("sha-256 {}", bytes.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hash: &str, algorithm: &'static Algorithm, certificate: &[u8]) -> (String, Vec<u8>) {
        (hash.to_owned(), digest::digest(algorithm, certificate).as_ref().to_vec())
    }

    #[test]
    fn any_safe_hash_names_a_certificate_and_the_strongest_counts() {
        for (hash, algorithm) in HASHES {
            let described = [of(hash, algorithm, b"theirs")];
            let mut prints = Fingerprints::default();
            assert_eq!(prints.check(&described), Ok(()));
            prints.adopt(&described);
            assert!(prints.names(b"theirs") && !prints.names(b"other"), "{hash}");
        }
        let both = [of("sha-256", &digest::SHA256, b"a"), of("sha-512", &digest::SHA512, b"b")];
        let mut prints = Fingerprints::default();
        prints.adopt(&both);
        assert!(prints.names(b"b") && !prints.names(b"a"));
        let two = [of("sha-256", &digest::SHA256, b"a"), of("sha-256", &digest::SHA256, b"b")];
        let mut prints = Fingerprints::default();
        prints.adopt(&two);
        assert!(prints.names(b"a") && prints.names(b"b") && !prints.names(b"c"));
    }

    #[test]
    fn weak_hashes_wrong_lengths_and_other_certificates_are_refused() {
        let prints = Fingerprints::default();
        let weak = [("sha-1".to_owned(), vec![0; 20]), ("md5".to_owned(), vec![0; 16])];
        assert_eq!(prints.check(&weak), Err(PeerError::NoFingerprint { is_weak: true }));
        assert_eq!(prints.check(&[]), Err(PeerError::NoFingerprint { is_weak: false }));
        let short = [("sha-256".to_owned(), vec![0; 20])];
        assert_eq!(prints.check(&short), Err(PeerError::NoFingerprint { is_weak: true }));
        let mut prints = Fingerprints::default();
        prints.adopt(&[of("sha-256", &digest::SHA256, b"a")]);
        let other = [of("sha-256", &digest::SHA256, b"b")];
        assert_eq!(prints.check(&other), Err(PeerError::CertificateChanged));
    }
}
