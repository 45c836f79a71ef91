//! The client against a vault that Delinea's own client talks to as well.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;

use base64::Engine as _;
use datakit_fake_sqlserver::Certificate;
use datakit_fake_sqlserver::vault::{CLIENT_ID, CLIENT_SECRET, Field, Vault, VaultOptions};
use datakit_model::{Credential, Diagnostic, Failure, Kind, Retry, Secret};
use datakit_secrets::delinea::{Client, ClientSettings, DelineaError, Login};

/// A file that is no text.
const KEYTAB: &[u8] = b"\x05\x02\x00\x00Pl4nted-keytab\xff\xfe";
const PASSWORD: &str = "Pl4nted-password \"\u{e9}";

fn vault(options: VaultOptions) -> Vault {
    let vault = Vault::start(options).unwrap();
    vault.set(
        7,
        vec![
            Field::Text("username", "svc".into()),
            Field::Text("password", PASSWORD.into()),
            Field::Text("notes", String::new()),
            Field::File("key-file", KEYTAB.to_vec()),
            Field::Text("key-text", "UGw0bnRl\nZC1rZXk=".into()),
        ],
    );
    vault
}

fn settings(vault: &Vault, login: Login) -> ClientSettings {
    ClientSettings {
        url: vault.url(),
        login,
        client_id: Secret::new(CLIENT_ID.into()),
        client_secret: Credential::from(Secret::new(CLIENT_SECRET.into())),
        certificate_file: vault.ca_pem_path().exists().then(|| vault.ca_pem_path().to_owned()),
    }
}

fn client(vault: &Vault, login: Login) -> Client {
    Client::new(settings(vault, login))
}

/// What Delinea's own client finds in secret 7: each field by its slug, files as bytes in hex.
fn by_their_own_client(vault: &Vault) -> serde_json::Value {
    let script = "
import json, sys
from delinea.secrets.server import PasswordGrantAuthorizer, SecretServer, ServerSecret
url, name, password = sys.argv[1:]
server = SecretServer(url, PasswordGrantAuthorizer(url, name, password))
secret = ServerSecret(**server.get_secret(7))
plain = lambda value: value if isinstance(value, str) else value.content.hex()
print(json.dumps({slug: plain(field.value) for slug, field in secret.fields.items()}))
";
    let python = std::env::var_os("DATAKIT_TEST_PYTHON").expect("DATAKIT_TEST_PYTHON: run ./test");
    let mut command = Command::new(python);
    command.args(["-c", script, &vault.url(), CLIENT_ID, CLIENT_SECRET]);
    command.env("REQUESTS_CA_BUNDLE", vault.ca_pem_path()).env("NO_PROXY", "localhost");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn delineas_own_client_and_ours_find_the_same() {
    for (platform, login) in [(false, Login::ClientCredentials), (false, Login::Password), (true, Login::Platform)] {
        let vault = vault(VaultOptions { platform, ..VaultOptions::default() });
        let theirs = by_their_own_client(&vault);
        let ours = client(&vault, login);
        assert_eq!(theirs["password"], PASSWORD);
        assert_eq!(ours.text(7, "password").unwrap().expose(), PASSWORD, "{login:?}");
        assert_eq!(ours.text(7, "USERNAME").unwrap().expose(), theirs["username"]);
        let file: String = ours.keytab(7, "key-file").unwrap().expose().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(theirs["key-file"], file, "{login:?}");
        assert_eq!(ours.keytab(7, "Key Text").unwrap().expose(), b"Pl4nted-key");
    }
}

#[test]
fn a_token_is_kept_until_it_ends_and_replaced_once_when_it_is_refused() {
    let vault = vault(VaultOptions::default());
    let ours = client(&vault, Login::ClientCredentials);
    for _ in 0..3 {
        ours.text(7, "password").unwrap();
    }
    assert_eq!(vault.asked("/oauth2/token"), 1);
    vault.revoke_tokens();
    ours.text(7, "password").unwrap();
    assert_eq!((vault.asked("/oauth2/token"), vault.asked("/secrets/7")), (2, 5));
    // Refused for good: asked for once more, and no more.
    vault.answer_instead(Some(("/secrets/7", 401, "{\"message\": \"no\"}".into())));
    assert_eq!(ours.text(7, "password").unwrap_err().code(), "DK-SEC-010");
    assert_eq!((vault.asked("/oauth2/token"), vault.asked("/secrets/7")), (3, 7));

    // A token of a second is old after nine tenths of it.
    let brief = self::vault(VaultOptions { token_life: Duration::from_secs(1), ..VaultOptions::default() });
    let ours = client(&brief, Login::ClientCredentials);
    ours.text(7, "password").unwrap();
    std::thread::sleep(Duration::from_millis(950));
    ours.text(7, "password").unwrap();
    assert_eq!((brief.asked("/oauth2/token"), brief.asked("/secrets/7")), (2, 2));
}

#[test]
fn a_client_secret_that_was_changed_is_looked_up_again() {
    let vault = vault(VaultOptions::default());
    let local = Secret::new("Pl4nted-old-secret".into());
    let other = Credential::fetched(local, || Ok(Secret::new(CLIENT_SECRET.into())));
    let ours = Client::new(ClientSettings { client_secret: other, ..settings(&vault, Login::ClientCredentials) });
    ours.text(7, "password").unwrap();
    assert_eq!(vault.asked("/oauth2/token"), 2);
    // The same again is not sent again.
    vault.set_client_secret("Pl4nted-newest-secret");
    vault.revoke_tokens();
    for _ in 0..5 {
        assert_eq!(ours.text(7, "password").unwrap_err().code(), "DK-SEC-010");
    }
    assert_eq!(vault.asked("/oauth2/token"), 3);
}

/// So many threads ask for a password at the same time, with a secret of the client's; whether each was given it.
fn at_once(vault: &Vault, client_secret: &str) -> Vec<Result<(), String>> {
    const THREADS: usize = 8;
    let client_secret = Credential::from(Secret::new(client_secret.into()));
    let ours = Client::new(ClientSettings { client_secret, ..settings(vault, Login::ClientCredentials) });
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        let ask = || {
            start.wait();
            ours.text(7, "password").map(drop).map_err(|error| error.code().into_owned())
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn logins_at_the_same_time_are_one() {
    let vault = vault(VaultOptions::default());
    assert!(at_once(&vault, CLIENT_SECRET).iter().all(Result::is_ok));
    assert_eq!((vault.asked("/oauth2/token"), vault.asked("/secrets/7")), (1, 8));
    // A refusal is told to all of them as well.
    let reported = at_once(&vault, "Pl4nted-wrong");
    assert!(reported.iter().all(|reported| reported == &Err("DK-SEC-010".to_owned())), "{reported:?}");
    assert_eq!((vault.asked("/oauth2/token"), vault.asked("/secrets/7")), (2, 8));
}

#[test]
fn a_refusal_that_quotes_what_was_sent_is_not_shown() {
    let vault = vault(VaultOptions::default());
    let ours = client(&vault, Login::ClientCredentials);
    ours.text(7, "password").unwrap();
    let token = "Pl4nted-token-1";
    let refusal = |end: &'static str, status: u16, message: &str| {
        vault.answer_instead(Some((end, status, serde_json::json!({ "message": message }).to_string())));
        let fresh = client(&vault, Login::ClientCredentials);
        let asked = if end == "/oauth2/token" { &fresh } else { &ours };
        asked.text(7, "password").unwrap_err().to_string()
    };
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let percent = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    for secret in [token, CLIENT_SECRET, CLIENT_ID] {
        for quoted in [secret.to_owned(), base64(secret), base64(&format!("Bearer {secret}")), percent(secret)] {
            let said = refusal("/secrets/7", 403, &format!("Invalid header: {quoted}."));
            assert!(said.ends_with("does not give secret 7: HTTP status 403"), "{quoted}: {said}");
            if secret == token {
                continue;
            }
            let said = refusal("/oauth2/token", 400, &format!("Invalid form: {quoted}."));
            assert!(said.ends_with("refused the host's login: HTTP status 400"), "{quoted}: {said}");
        }
    }
    let said = refusal("/secrets/7", 403, "Not in your folder.");
    assert!(said.ends_with("Not in your folder. (HTTP status 403)"), "{said}");
}

/// Code, message, hint and what else it says.
fn reported(error: &DelineaError, vault: &Vault) -> String {
    let failure = Failure::of(error);
    assert!(failure.hint().is_some() && matches!(failure.kind(), Kind::User), "{failure:?}");
    let again = if failure.retry() == Retry::AfterBackoff { ", again" } else { "" };
    let text = format!("{error:?} {failure:?}");
    assert!(!text.contains("Pl4nted"), "{text}");
    let text = format!("error[{}{again}]: {failure}\n  hint: {}\n", failure.code(), failure.hint().unwrap());
    text.replace(&vault.url(), "[vault]").replace(&vault.ca_pem_path().display().to_string(), "[ca]")
}

#[test]
fn what_goes_wrong_says_what_to_do() {
    let vault = vault(VaultOptions::default());
    let ours = client(&vault, Login::ClientCredentials);
    let mut all = String::new();
    let mut report = |what: &str, error: DelineaError| all += &format!("# {what}\n{}\n", reported(&error, &vault));

    let nobody = Vault::start(VaultOptions { certificate: None, ..VaultOptions::default() }).unwrap();
    let gone = ClientSettings { url: "http://127.0.0.1:1".into(), ..settings(&vault, Login::ClientCredentials) };
    report("nobody there", Client::new(gone).text(7, "password").unwrap_err());
    drop(nobody);
    let strange = ClientSettings { certificate_file: None, ..settings(&vault, Login::ClientCredentials) };
    report("a certificate of nobody known", Client::new(strange).text(7, "password").unwrap_err());
    let settings = settings(&vault, Login::ClientCredentials);
    let wrong = Credential::from(Secret::new("Pl4nted-wrong".into()));
    let refused = ClientSettings { client_secret: wrong, ..settings.clone() };
    report("client refused", Client::new(refused).text(7, "password").unwrap_err());
    let platform = Client::new(ClientSettings { login: Login::Platform, ..settings });
    report("no platform", platform.text(7, "password").unwrap_err());
    report("no such secret", ours.text(8, "password").unwrap_err());
    report("no such field", ours.text(7, "pass").unwrap_err());
    report("a file is no password", ours.text(7, "key-file").unwrap_err());
    report("an empty field", ours.text(7, "notes").unwrap_err());
    report("a text is no keytab", ours.keytab(7, "password").unwrap_err());
    let token = format!("{{\"message\": \"token for {CLIENT_SECRET} \\u001b[2J\"}}");
    for (what, end, status, body) in [
        ("too large", "/secrets/7", 200, " ".repeat(2 << 20)),
        ("too large a file", "/fields/key-file", 200, "k".repeat(5 << 20)),
        ("HTML", "/secrets/7", 200, "<html>Pl4nted</html>".to_owned()),
        ("a redirect", "/secrets/7", 302, String::new()),
        ("in trouble", "/secrets/7", 503, "busy".to_owned()),
        ("a message that repeats the secret", "/secrets/7", 403, token),
        ("control characters", "/secrets/7", 403, "{\"message\": \"no\\u001b[2Jway\"}".to_owned()),
    ] {
        vault.answer_instead(Some((end, status, body)));
        let error = ours.keytab(7, "key-file").unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'));
        report(what, error);
    }
    vault.answer_instead(Some(("/oauth2/token", 200, "<html>try again later</html>".into())));
    vault.revoke_tokens();
    report("HTML for a token", ours.text(7, "password").unwrap_err());

    for certificate in [Certificate::WrongHost, Certificate::Expired] {
        let what = format!("{certificate:?}");
        let other = self::vault(VaultOptions { certificate: Some(certificate), ..VaultOptions::default() });
        let error = client(&other, Login::ClientCredentials).text(7, "password").unwrap_err();
        assert_eq!(error.code(), "DK-SEC-002", "{what}: {error}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn plain_http_is_for_this_machine_and_works_there() {
    let vault = vault(VaultOptions { certificate: None, ..VaultOptions::default() });
    assert!(vault.url().starts_with("http://localhost"));
    assert_eq!(client(&vault, Login::Password).text(7, "password").unwrap().expose(), PASSWORD);
}
