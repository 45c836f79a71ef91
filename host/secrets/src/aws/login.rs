//! Who the host is to AWS: an access key by reference, or what the environment offers, by `object_store`.
//!
//! The order is that of AWS's own clients: AWS_ACCESS_KEY_ID, a web identity (EKS, GitHub), the credentials of a container (ECS, EKS Pod
//! Identity), the role of an EC2 instance. Files of the AWS CLI are not read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use datakit_model::{Credential, Secret};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::{ClientOptions, RetryConfig};

use super::error::AwsError;
use super::signature::Keys;
use crate::words;

/// The variables that say how the host logs in.
pub const VARIABLES: [&str; 11] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
];
/// `true`: the role of an EC2 instance is not asked for.
const NO_INSTANCE_VARIABLE: &str = "AWS_EC2_METADATA_DISABLED";
/// Files with tokens that are sent to whoever gives credentials.
const TOKEN_FILES: [&str; 2] = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];

/// Variables whose values are not shown.
const SECRET_VARIABLES: [&str; 2] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// Services of the machine itself answer at once, or are not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RETRIES: usize = 2;

/// How the host logs in.
#[derive(Debug)]
pub enum Login {
    /// With an access key.
    Keys {
        /// Its id.
        access_key_id: Credential,
        /// Its secret.
        secret_access_key: Credential,
        /// The token of a temporary one.
        session_token: Option<Credential>,
    },
    /// As the environment says.
    Environment(Environment),
}

/// What the environment says, and the credentials that come of it.
pub struct Environment {
    variables: BTreeMap<String, Secret>,
    has_instance: bool,
    provider: Mutex<Option<AwsCredentialProvider>>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Login {
    /// As the environment says.
    #[must_use]
    pub fn of_environment(environment: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let variables =
            VARIABLES.into_iter().filter_map(|name| Some((name.to_owned(), Secret::new(set(name)?.clone())))).collect();
        let has_instance = !set(NO_INSTANCE_VARIABLE).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Self::Environment(Environment { variables, has_instance, provider: Mutex::default() })
    }

    /// The access key of now. May block.
    pub(crate) async fn keys(&self, region: &str, secret_id: &str) -> Result<Keys, AwsError> {
        let keys = match self {
            Self::Keys { access_key_id, secret_access_key, session_token } => Keys {
                access_key_id: Secret::clone(access_key_id.get()?.as_ref()),
                secret_access_key: Secret::clone(secret_access_key.get()?.as_ref()),
                session_token: match session_token {
                    Some(token) => Some(Secret::clone(token.get()?.as_ref())),
                    None => None,
                },
            },
            Self::Environment(environment) => environment.keys(region, secret_id).await?,
        };
        match keys.invalid() {
            Some(key) => Err(AwsError::InvalidKey { secret_id: secret_id.to_owned(), key }),
            None => Ok(keys),
        }
    }

    /// Forgets credentials that AWS does not accept any more. Whether there may be others.
    pub(crate) fn forget(&self) -> bool {
        match self {
            Self::Keys { .. } => false,
            Self::Environment(environment) => environment.provider().take().is_some(),
        }
    }
}

impl Environment {
    fn provider(&self) -> MutexGuard<'_, Option<AwsCredentialProvider>> {
        self.provider.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keys(&self, region: &str, secret_id: &str) -> Result<Keys, AwsError> {
        let way = self.way();
        let failed = |reason: String| match way {
            Some(way) => AwsError::Credentials { way, reason },
            None => AwsError::NoCredentials { secret_id: secret_id.to_owned(), reason },
        };
        if way.is_none() && !self.has_instance {
            return Err(failed("the environment names none".to_owned()));
        }
        let provider = self.opened(region).map_err(|error| failed(self.reason(&error)))?;
        let credential = provider.get_credential().await.map_err(|error| failed(self.reason(&error)))?;
        Ok(keys_of(&credential))
    }

    /// The provider of credentials, which keeps temporary ones until shortly before their end.
    fn opened(&self, region: &str) -> object_store::Result<AwsCredentialProvider> {
        let mut provider = self.provider();
        if let Some(provider) = &*provider {
            return Ok(Arc::clone(provider));
        }
        let opened = self.open(region)?;
        *provider = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// The library gives credentials for a bucket only, but asks nobody about it.
    fn open(&self, region: &str) -> object_store::Result<AwsCredentialProvider> {
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(TIMEOUT)
            // Every request has a runtime of its own, and no connection outlives it.
            .with_pool_max_idle_per_host(0);
        let retry = RetryConfig { max_retries: MAX_RETRIES, retry_timeout: TIMEOUT, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name("unused")
            .with_region(region)
            .with_client_options(options)
            .with_retry(retry);
        for (name, value) in &self.variables {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value.expose());
            }
        }
        Ok(Arc::clone(builder.build()?.credentials()))
    }

    /// What the environment offers; none but the role of the instance.
    fn way(&self) -> Option<&'static str> {
        let has = |name: &str| self.variables.contains_key(name);
        if has("AWS_ACCESS_KEY_ID") || has("AWS_SECRET_ACCESS_KEY") {
            Some("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        } else if has("AWS_WEB_IDENTITY_TOKEN_FILE") && has("AWS_ROLE_ARN") {
            Some("AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN")
        } else if has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            Some("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        } else if has("AWS_CONTAINER_CREDENTIALS_FULL_URI") && has("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        } else {
            None
        }
    }

    /// The library's words, unless they hold a part of what was sent.
    fn reason(&self, error: &object_store::Error) -> String {
        let tokens = TOKEN_FILES.into_iter().filter_map(|name| self.variables.get(name));
        let tokens = tokens.filter_map(|file| std::fs::read_to_string(file.expose()).ok());
        let tokens: Vec<Secret> = tokens.map(|token| Secret::new(token.trim().to_owned())).collect();
        let secrets = SECRET_VARIABLES.into_iter().filter_map(|name| self.variables.get(name));
        let text = match error {
            object_store::Error::Generic { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        let shown = words::shown(&text, tokens.iter().chain(secrets));
        shown.unwrap_or_else(|| "the answer repeats what was sent, and is not shown".to_owned())
    }
}

fn keys_of(credential: &AwsCredential) -> Keys {
    let secret = |text: &String| Secret::new(text.clone());
    Keys {
        access_key_id: secret(&credential.key_id),
        secret_access_key: secret(&credential.secret_key),
        session_token: credential.token.as_ref().map(secret),
    }
}
