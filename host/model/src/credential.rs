//! A secret that may be changed while a run goes on: fetched when it is first needed, and once more when it is refused.
//!
//! What a server has refused is never sent to it again: an account is locked after a few wrong passwords, and a run has many
//! logins. Before a further login the secret is looked up again, and only another one is tried.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::{Diagnostic, Failure, Kind, Retry};
use crate::secret::{Secret, SecretBytes};

/// A secret that was refused is looked up again, for other logins, at most this often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What can be told to be the same as before.
pub trait Same {
    /// Whether both are the same secret.
    fn is_same(&self, other: &Self) -> bool;
}

impl Same for Secret {
    fn is_same(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Same for SecretBytes {
    fn is_same(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

/// A secret and how it is fetched. Clones share what was fetched.
pub struct Credential<T = Secret>(Arc<Inner<T>>);

type Fetch<T> = Box<dyn Fn() -> Result<T, Failure> + Send + Sync>;

struct Inner<T> {
    /// Blocks.
    fetch: Fetch<T>,
    /// Whether it is cheap to fetch and may be another one each time.
    each_time: bool,
    /// Held while a secret is fetched, which may take as long as a vault does: one fetch serves all who wait for it.
    fetching: Mutex<()>,
    /// Never held while anybody waits: the async side takes it as well.
    held: Mutex<Held<T>>,
}

struct Held<T> {
    current: Option<Arc<T>>,
    /// What was said to `current`, and when it was looked up last.
    refusal: Option<(Failure, Instant)>,
}

impl<T> Clone for Credential<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Credential<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(***)")
    }
}

impl<T: Same + Clone + Send + Sync + 'static> From<T> for Credential<T> {
    /// A secret that stays what it is.
    fn from(secret: T) -> Self {
        let again = secret.clone();
        Self::fetched(secret, move || Ok(again.clone()))
    }
}

impl<T: Same + Send + Sync + 'static> Credential<T> {
    /// Nothing is fetched yet. `fetch` may block.
    pub fn new(fetch: impl Fn() -> Result<T, Failure> + Send + Sync + 'static) -> Self {
        Self::with(None, Box::new(fetch), false)
    }

    /// With a secret that was fetched just now.
    pub fn fetched(secret: T, fetch: impl Fn() -> Result<T, Failure> + Send + Sync + 'static) -> Self {
        Self::with(Some(Arc::new(secret)), Box::new(fetch), false)
    }

    /// Fetched each time it is asked for: a file that somebody replaces.
    pub fn each_time(fetch: impl Fn() -> Result<T, Failure> + Send + Sync + 'static) -> Self {
        Self::with(None, Box::new(fetch), true)
    }

    fn with(current: Option<Arc<T>>, fetch: Fetch<T>, each_time: bool) -> Self {
        Self(Arc::new(Inner {
            fetch,
            each_time,
            fetching: Mutex::default(),
            held: Mutex::new(Held { current, refusal: None }),
        }))
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        // Nothing in here can panic halfway.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn to fetch.
    fn fetching(&self) -> MutexGuard<'_, ()> {
        // A fetch that panicked has changed nothing.
        self.0.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be said without fetching.
    fn known(&self) -> Option<Result<Arc<T>, Failure>> {
        let held = self.held();
        match (&held.current, &held.refusal) {
            (Some(current), None) if !self.0.each_time => Some(Ok(Arc::clone(current))),
            (Some(_), Some((refusal, looked))) if !self.0.each_time && looked.elapsed() < LOOK_AGAIN => {
                Some(Err(refusal.clone()))
            }
            _ => None,
        }
    }

    /// The secret. May block.
    ///
    /// # Errors
    /// It cannot be fetched; or it is still the one that was refused, then the refusal.
    pub fn get(&self) -> Result<Arc<T>, Failure> {
        if let Some(found) = self.known() {
            return found;
        }
        let _turn = self.fetching();
        // Somebody may have fetched it meanwhile.
        if let Some(found) = self.known() {
            return found;
        }
        let fetched = (self.0.fetch)();
        let mut held = self.held();
        let fetched = match (fetched, &held.refusal) {
            (Ok(fetched), _) => fetched,
            (Err(failure), None) => return Err(failure),
            (Err(failure), Some((refusal, _))) => {
                report(&failure);
                return Err(refusal.clone());
            }
        };
        match &held.current {
            Some(current) if current.is_same(&fetched) => {
                if let Some((refusal, looked)) = &mut held.refusal {
                    *looked = Instant::now();
                    return Err(refusal.clone());
                }
            }
            _ => *held = Held { current: Some(Arc::new(fetched)), refusal: None },
        }
        held.current.clone().ok_or_else(nothing)
    }

    /// [`Credential::get`] on a thread that may block.
    ///
    /// # Errors
    /// As there.
    pub async fn obtain(&self) -> Result<Arc<T>, Failure> {
        self.blocking(Self::get).await
    }

    /// Whether the secret can be had, found out on a thread that may block. It is kept, as by a login.
    ///
    /// # Errors
    /// As of [`Credential::get`].
    pub async fn is_there(&self) -> Result<(), Failure> {
        self.obtain().await.map(drop)
    }

    /// Another secret than the one that was refused, if it is known by now whether there is one.
    fn known_other_than(&self, refused: &T) -> Option<Option<Arc<T>>> {
        let held = self.held();
        match held.current.as_ref().filter(|current| !current.is_same(refused)) {
            Some(current) => Some(held.refusal.is_none().then(|| Arc::clone(current))),
            None => held.refusal.is_some().then_some(None),
        }
    }

    /// Another secret than the one that was refused, fetched now unless somebody has done so; none where there is no other.
    fn other_than(&self, refused: &Arc<T>, refusal: &Failure) -> Option<Arc<T>> {
        if let Some(known) = self.known_other_than(refused) {
            return known;
        }
        let _turn = self.fetching();
        if let Some(known) = self.known_other_than(refused) {
            return known;
        }
        let looked = (self.0.fetch)();
        let mut held = self.held();
        match looked {
            Ok(fetched) if !fetched.is_same(refused) => {
                let fetched = Arc::new(fetched);
                *held = Held { current: Some(Arc::clone(&fetched)), refusal: None };
                Some(fetched)
            }
            looked => {
                if let Err(failure) = looked {
                    report(&failure);
                }
                held.refusal = Some((refusal.clone(), Instant::now()));
                None
            }
        }
    }

    /// Remembers what was said to a secret that was fetched anew.
    fn note(&self, refused: &Arc<T>, refusal: Failure) {
        let mut held = self.held();
        if held.current.as_ref().is_some_and(|current| current.is_same(refused)) {
            held.refusal = Some((refusal, Instant::now()));
        }
    }

    /// Uses the secret; where it is refused, fetches it again, once, and tries again if it is another one. Blocks.
    ///
    /// # Errors
    /// It cannot be fetched, or what `attempt` says in the end.
    pub fn attempt<R, E: Diagnostic + From<Failure>>(
        &self,
        attempt: impl Fn(&T) -> Result<R, E>,
        is_refusal: impl Fn(&E) -> bool,
    ) -> Result<R, E> {
        let first = self.get()?;
        let refused = match attempt(&first) {
            Err(error) if is_refusal(&error) => error,
            other => return other,
        };
        let Some(second) = self.other_than(&first, &Failure::of(&refused)) else { return Err(refused) };
        attempt(&second).inspect_err(|error| {
            if is_refusal(error) {
                self.note(&second, Failure::of(error));
            }
        })
    }

    /// [`Credential::attempt`] of something that does not block.
    ///
    /// # Errors
    /// As there.
    pub async fn log_in<R, E: Diagnostic + From<Failure>, F: Future<Output = Result<R, E>>>(
        &self,
        attempt: impl Fn(Arc<T>) -> F,
        is_refusal: impl Fn(&E) -> bool,
    ) -> Result<R, E> {
        let first = self.obtain().await?;
        let refused = match attempt(Arc::clone(&first)).await {
            Err(error) if is_refusal(&error) => error,
            other => return other,
        };
        let refusal = Failure::of(&refused);
        let used = Arc::clone(&first);
        let other = self.blocking(move |this| Ok(this.other_than(&used, &refusal))).await?;
        let Some(second) = other else { return Err(refused) };
        attempt(Arc::clone(&second)).await.inspect_err(|error| {
            if is_refusal(error) {
                self.note(&second, Failure::of(error));
            }
        })
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this)).await.unwrap_or_else(|_| Err(nothing()))
    }
}

fn nothing() -> Failure {
    Failure::new("DK-SEC-090", Kind::Internal, Retry::Never, "the thread that fetches a secret is gone")
        .with_hint("this is a bug in the host: please report it with the log")
}

/// Why a secret cannot be looked up again is told beside the refusal, which is what is reported.
fn report(failure: &Failure) {
    tracing::warn!(code = failure.code(), error = %failure, "a secret that was refused cannot be fetched again");
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Login {
        #[error("refused")]
        Refused,
        #[error("{0}")]
        Secret(Failure),
    }

    impl Diagnostic for Login {
        fn code(&self) -> Cow<'static, str> {
            match self {
                Self::Refused => "DK-TST-001".into(),
                Self::Secret(failure) => failure.code().to_owned().into(),
            }
        }
        fn kind(&self) -> Kind {
            Kind::User
        }
    }

    impl From<Failure> for Login {
        fn from(failure: Failure) -> Self {
            Self::Secret(failure)
        }
    }

    /// A vault and a server, each with its count.
    struct World {
        vault: Arc<Mutex<&'static str>>,
        fetched: Arc<AtomicUsize>,
        tried: AtomicUsize,
        credential: Credential,
    }

    fn world(vault: &'static str) -> World {
        let (vault, fetched) = (Arc::new(Mutex::new(vault)), Arc::new(AtomicUsize::new(0)));
        let (secret, count) = (Arc::clone(&vault), Arc::clone(&fetched));
        let credential = Credential::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            match *secret.lock().unwrap() {
                "" => Err(Failure::new("DK-TST-002", Kind::User, Retry::Never, "no vault")),
                text => Ok(Secret::new(text.to_owned())),
            }
        });
        World { vault, fetched, tried: AtomicUsize::new(0), credential }
    }

    impl World {
        async fn log_in(&self, right: &'static str) -> Result<(), Login> {
            let attempt = |secret: Arc<Secret>| {
                self.tried.fetch_add(1, Ordering::SeqCst);
                async move { if secret.expose() == right { Ok(()) } else { Err(Login::Refused) } }
            };
            self.credential.log_in(attempt, |error| matches!(error, Login::Refused)).await
        }

        fn counts(&self) -> (usize, usize) {
            (self.fetched.load(Ordering::SeqCst), self.tried.load(Ordering::SeqCst))
        }
    }

    #[tokio::test]
    async fn a_changed_secret_is_fetched_once_more_and_kept() {
        let world = world("old");
        assert_eq!(world.counts(), (0, 0), "nothing before it is needed");
        world.log_in("old").await.unwrap();
        world.log_in("old").await.unwrap();
        assert_eq!(world.counts(), (1, 2));
        *world.vault.lock().unwrap() = "new";
        world.log_in("new").await.unwrap();
        assert_eq!(world.counts(), (2, 4));
        world.log_in("new").await.unwrap();
        assert_eq!(world.counts(), (2, 5));
    }

    #[tokio::test]
    async fn a_refused_secret_is_sent_once_however_many_logins_there_are() {
        let world = world("wrong");
        for _ in 0..10 {
            assert_eq!(world.log_in("right").await.unwrap_err().code(), "DK-TST-001");
        }
        assert_eq!(world.counts(), (2, 1));
    }

    #[tokio::test]
    async fn a_second_wrong_secret_is_the_last() {
        let world = world("old");
        world.log_in("old").await.unwrap();
        *world.vault.lock().unwrap() = "newer";
        for _ in 0..3 {
            assert_eq!(world.log_in("newest").await.unwrap_err().code(), "DK-TST-001");
        }
        assert_eq!(world.counts(), (2, 3));
    }

    #[tokio::test]
    async fn a_vault_that_is_away_leaves_the_refusal_to_be_reported() {
        let world = world("");
        assert_eq!(world.log_in("right").await.unwrap_err().code(), "DK-TST-002");
        *world.vault.lock().unwrap() = "wrong";
        world.log_in("wrong").await.unwrap();
        *world.vault.lock().unwrap() = "";
        assert_eq!(world.log_in("right").await.unwrap_err().code(), "DK-TST-001");
    }

    #[test]
    fn what_is_looked_up_each_time_is_never_sent_twice_when_refused() {
        let (looked, tried) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let count = Arc::clone(&looked);
        let credential = Credential::each_time(move || {
            Ok(SecretBytes::new(if count.fetch_add(1, Ordering::SeqCst) < 3 { vec![1] } else { vec![2] }))
        });
        let attempt = |key: &SecretBytes| {
            tried.fetch_add(1, Ordering::SeqCst);
            if key.expose() == [2] { Ok(()) } else { Err(Login::Refused) }
        };
        let is_refusal = |error: &Login| matches!(error, Login::Refused);
        assert!(credential.attempt(attempt, is_refusal).is_err());
        assert!(credential.attempt(attempt, is_refusal).is_err());
        assert_eq!((looked.load(Ordering::SeqCst), tried.load(Ordering::SeqCst)), (3, 1));
        credential.attempt(attempt, is_refusal).unwrap();
        assert_eq!(tried.load(Ordering::SeqCst), 2);
    }

    /// A vault that hangs blocks whoever asks it, and nobody else: what a server says to a login is noted all the same.
    #[tokio::test]
    async fn a_vault_that_hangs_leaves_the_runtime_free() {
        let (asked, is_asked) = std::sync::mpsc::channel();
        let (release, is_released) = std::sync::mpsc::channel::<()>();
        let (ended, was_released) = std::sync::mpsc::channel();
        let (count, is_released) = (AtomicUsize::new(0), Mutex::new(is_released));
        let credential = Credential::each_time(move || {
            let number = count.fetch_add(1, Ordering::SeqCst);
            if number == 2 {
                asked.send(()).unwrap();
                // Released by the ticks, or by the timeout.
                let released = is_released.lock().unwrap().recv_timeout(Duration::from_secs(30));
                ended.send(released.is_ok()).unwrap();
            }
            Ok(Secret::new(format!("number {number}")))
        });
        let (hanging, is_asked) = (credential.clone(), Mutex::new(is_asked));
        let attempt = |secret: Arc<Secret>| {
            let is_second = secret.expose() == "number 1";
            if is_second {
                let hanging = hanging.clone();
                tokio::task::spawn_blocking(move || hanging.get().map(drop));
                is_asked.lock().unwrap().recv().unwrap();
            }
            async move { Err::<(), Login>(Login::Refused) }
        };
        let ticks = tokio::spawn(async move {
            for _ in 0..50 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            release.send(()).unwrap();
        });
        let error = credential.log_in(attempt, |error| matches!(error, Login::Refused)).await.unwrap_err();
        assert_eq!(error.code(), "DK-TST-001");
        ticks.await.unwrap();
        assert!(was_released.recv().unwrap(), "the runtime stood still until the vault gave up");
    }

    #[test]
    fn it_shows_nothing() {
        assert_eq!(format!("{:?}", Credential::from(Secret::new("Pl4nted".into()))), "Credential(***)");
    }
}
