//! The bytes of one row on their way into its hash, plain or with a key.

use datakit_model::HashKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Values up to this size are gathered into one buffer and hashed together; longer ones are hashed where they lie.
const GATHERED_BYTES: usize = 4096;

/// Hashes one message after another.
pub(super) trait RowDigest {
    fn update(&mut self, bytes: &[u8]);
    /// The hash of the message; the next one begins.
    fn finish(&mut self) -> [u8; 32];
}

/// SHA-256.
#[derive(Default)]
pub(super) struct Plain(Sha256);

impl RowDigest for Plain {
    #[inline]
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    #[inline]
    fn finish(&mut self) -> [u8; 32] {
        self.0.finalize_reset().into()
    }
}

/// HMAC-SHA-256 with the padded key hashed already. It is wiped when it is dropped.
#[derive(Clone)]
pub(super) struct PreparedKey(Hmac<Sha256>);

impl PreparedKey {
    pub(super) fn new(key: &HashKey) -> Option<Self> {
        // Every length is a length of a key of HMAC.
        Hmac::new_from_slice(key.expose()).ok().map(Self)
    }

    /// Hashes of messages.
    pub(super) fn begin(&self) -> Keyed<'_> {
        Keyed { prepared: self, current: self.0.clone() }
    }
}

/// HMAC-SHA-256.
pub(super) struct Keyed<'k> {
    prepared: &'k PreparedKey,
    current: Hmac<Sha256>,
}

impl RowDigest for Keyed<'_> {
    #[inline]
    fn update(&mut self, bytes: &[u8]) {
        Mac::update(&mut self.current, bytes);
    }

    #[inline]
    fn finish(&mut self) -> [u8; 32] {
        std::mem::replace(&mut self.current, self.prepared.0.clone()).finalize().into_bytes().into()
    }
}

/// The bytes of one row.
pub(super) struct Message<D> {
    gathered: Vec<u8>,
    digest: D,
}

impl<D: RowDigest> Message<D> {
    pub(super) fn new(digest: D) -> Self {
        Self { gathered: Vec::with_capacity(GATHERED_BYTES), digest }
    }

    #[inline]
    pub(super) fn null(&mut self) {
        self.gathered.push(0);
    }

    #[inline]
    pub(super) fn value(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let length = u32::try_from(bytes.len()).map_err(|_| "it is longer than 4 GiB")?;
        let [a, b, c, d] = length.to_le_bytes();
        self.gathered.extend_from_slice(&[1, a, b, c, d]);
        if bytes.len() > GATHERED_BYTES {
            self.digest.update(&self.gathered);
            self.gathered.clear();
            self.digest.update(bytes);
        } else {
            self.gathered.extend_from_slice(bytes);
        }
        Ok(())
    }

    #[inline]
    pub(super) fn finish(&mut self) -> [u8; 32] {
        self.digest.update(&self.gathered);
        self.gathered.clear();
        self.digest.finish()
    }
}
