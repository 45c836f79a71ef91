//! The client against moto, which checks signatures, and against a server that answers what it is told to.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use datakit_model::{Credential, Diagnostic, Failure, Kind, Retry, Secret};
use datakit_secrets::aws::{AccessKeys, AwsError, AwsSecret, Client, ClientSettings, Login, Value, Version};
use datakit_secrets::environment::Variable;
use datakit_secrets::{Opening, Reference, Vaults};

const REGION: &str = "eu-central-1";
const KEYTAB: &[u8] = b"\x05\x02\x00\x00Pl4nted-keytab\xff\xfe";
const START_TIMEOUT: Duration = Duration::from_secs(60);

fn python() -> Command {
    Command::new(std::env::var_os("DATAKIT_TEST_PYTHON").expect("DATAKIT_TEST_PYTHON: run ./test"))
}

/// AWS on this machine.
struct Moto {
    /// A shell that waits for the end of its input, and then stops the server: also when this process is killed.
    shell: Child,
    endpoint: String,
    /// The access key of a user who may read secrets.
    id: String,
    secret: String,
}

impl Moto {
    fn start() -> Self {
        const STOP_WITH_US: &str =
            "\"$@\" >/dev/null 2>&1 </dev/null & server=$!; read -r _; kill $server; wait $server";
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let moto = "import sys; from moto.server import main; main(sys.argv[1:])";
        let mut command = Command::new("sh");
        command.args(["-c", STOP_WITH_US, "sh"]).arg(python().get_program());
        command.args(["-c", moto, "-H", "127.0.0.1", "-p", &port.to_string()]);
        let shell = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "moto does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let endpoint = format!("http://127.0.0.1:{port}");
        let mut started = Self { shell, endpoint, id: String::new(), secret: String::new() };
        let output = python().args(["-c", include_str!("aws.py"), &started.endpoint]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let key: BTreeMap<String, String> = serde_json::from_slice(&output.stdout).unwrap();
        (started.id, started.secret) = (key["id"].clone(), key["secret"].clone());
        started
    }

    fn client(&self) -> Client {
        client(&self.endpoint, keys(&self.id, &self.secret, None))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn credential(text: &str) -> Credential {
    Credential::from(Secret::new(text.to_owned()))
}

fn keys(id: &str, secret: &str, token: Option<&str>) -> Login {
    Login::Keys {
        access_key_id: credential(id),
        secret_access_key: credential(secret),
        session_token: token.map(credential),
    }
}

fn client(endpoint: &str, login: Login) -> Client {
    Client::new(ClientSettings { region: REGION.into(), endpoint: Some(endpoint.to_owned()), login }).unwrap()
}

fn value(secret_id: &str, field: Option<&str>) -> Value {
    Value { version: Version { secret_id: secret_id.into(), stage: None }, field: field.map(str::to_owned) }
}

#[test]
fn secrets_of_their_own_client_are_found() {
    let moto = Moto::start();
    let ours = moto.client();
    let text = |secret: &str, field: Option<&str>| ours.text(&value(secret, field)).unwrap().expose().to_owned();
    assert_eq!(text("plain", None), "Pl4nted-password \"\u{e9}");
    assert_eq!(text("fields", Some("password")), "Pl4nted-2");
    let stage = Some("AWSPREVIOUS".to_owned());
    let previous =
        Value { version: Version { secret_id: "fields".into(), stage }, ..value("fields", Some("password")) };
    assert_eq!(ours.text(&previous).unwrap().expose(), "Pl4nted-1");
    assert_eq!(ours.keytab(&value("keytab", None)).unwrap().expose(), KEYTAB);
    assert_eq!(ours.keytab(&value("packed", Some("keytab"))).unwrap().expose(), b"Pl4nted-key");

    let code = |error: AwsError| error.code().into_owned();
    assert_eq!(code(ours.text(&value("nothing", None)).unwrap_err()), "DK-SEC-020");
    assert_eq!(code(ours.text(&value("deleted", None)).unwrap_err()), "DK-SEC-020");
    assert_eq!(code(ours.text(&value("fields", Some("username"))).unwrap_err()), "DK-SEC-021");
    assert_eq!(code(ours.text(&value("keytab", None)).unwrap_err()), "DK-SEC-022");
    assert_eq!(code(ours.text(&value("fields", Some("note"))).unwrap_err()), "DK-SEC-023");
    assert_eq!(code(ours.keytab(&value("plain", None)).unwrap_err()), "DK-SEC-024");
    assert_eq!(code(ours.text(&value("fields", Some("port"))).unwrap_err()), "DK-SEC-027");
    assert_eq!(code(ours.text(&value("fields", None)).unwrap_err()), "DK-SEC-027");
    assert_eq!(code(ours.text(&value("plain", Some("password"))).unwrap_err()), "DK-SEC-027");

    // The signature is checked, so it was right above.
    let wrong = client(&moto.endpoint, keys(&moto.id, "Pl4nted-wrong", None));
    assert_eq!(code(wrong.text(&value("plain", None)).unwrap_err()), "DK-SEC-010");
}

fn opening<'o>(
    environment: &'o BTreeMap<String, String>,
    vaults: &'o Vaults,
    needs: BTreeMap<&'static str, Credential>,
) -> Opening<'o> {
    Opening { environment, vaults, fetched: None, needs }
}

#[test]
fn reference_is_opened_with_its_keys_or_with_the_environment() {
    let moto = Moto::start();
    let variable = |name: &str| Variable(name.to_owned()).into();
    let plain = AwsSecret {
        secret_id: "plain".into(),
        region: None,
        field: None,
        version_stage: None,
        endpoint: Some(moto.endpoint.clone()),
        keys: None,
    };
    let of_keys = AwsSecret {
        keys: Some(AccessKeys {
            access_key_id: variable("ID"),
            secret_access_key: variable("KEY"),
            session_token: None,
        }),
        ..plain.clone()
    };
    let vaults = Vaults::default();
    let mut environment = BTreeMap::from([("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned())]);
    let needs =
        BTreeMap::from([("access_key_id", credential(&moto.id)), ("secret_access_key", credential(&moto.secret))]);
    let code = |failure: Failure| failure.code().to_owned();
    assert_eq!(code(plain.open(&opening(&environment, &vaults, BTreeMap::new())).unwrap_err()), "DK-SEC-015");
    environment.insert("AWS_REGION".into(), REGION.into());
    assert!(of_keys.open(&opening(&environment, &vaults, needs)).unwrap().get().is_ok());

    // Nothing is asked for before it is needed, and the environment is looked at once for each vault.
    let nobody = plain.open(&opening(&environment, &vaults, BTreeMap::new())).unwrap();
    assert_eq!(code(nobody.get().unwrap_err()), "DK-SEC-014");
    environment.insert("AWS_ACCESS_KEY_ID".into(), moto.id.clone());
    environment.insert("AWS_SECRET_ACCESS_KEY".into(), moto.secret.clone());
    let others = Vaults::default();
    assert!(plain.open(&opening(&environment, &others, BTreeMap::new())).unwrap().get().is_ok());
}

/// What a server is to answer: status and body.
type Script = Arc<Mutex<Vec<(u16, String)>>>;

/// A server that answers by its script, whose last answer stays; and the heads of all requests.
struct Scripted {
    endpoint: String,
    script: Script,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn start(answers: &[(u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (script, asked): (Script, Arc<Mutex<Vec<String>>>) = Default::default();
        let scripted = Self { endpoint, script: Arc::clone(&script), asked: Arc::clone(&asked) };
        scripted.answer(answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.unwrap(), &script, &asked);
            }
        });
        scripted
    }

    fn answer(&self, answers: &[(u16, &str)]) {
        let answers = answers.iter().rev().map(|(status, body)| (*status, (*body).to_owned()));
        *self.script.lock().unwrap() = answers.collect();
        self.asked.lock().unwrap().clear();
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(stream: &mut TcpStream, script: &Script, asked: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(found) = lower.strip_prefix("content-length:") {
            length = found.trim().parse().unwrap();
        }
        head.push_str(&lower);
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    asked.lock().unwrap().push(head);
    let mut script = script.lock().unwrap();
    let (status, body) = if script.len() > 1 { script.pop().unwrap() } else { script[0].clone() };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

const FOUND: &str = r#"{"SecretString": "Pl4nted-password"}"#;

fn error(kind: &str, message: &str) -> String {
    serde_json::json!({ "__type": kind, "Message": message }).to_string()
}

#[test]
fn overloaded_service_is_asked_again_with_pauses() {
    let throttled = error("ThrottlingException", "Rate exceeded");
    let server = Scripted::start(&[(400, &throttled), (503, "busy"), (200, FOUND)]);
    let ours = client(&server.endpoint, keys("AKIDEXAMPLE", "Pl4nted-key", None));
    let started = Instant::now();
    assert_eq!(ours.text(&value("erp", None)).unwrap().expose(), "Pl4nted-password");
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert_eq!(server.asked().len(), 3);
    // Four times in all, and then it is an error that a run retries.
    server.answer(&[(500, "")]);
    let failure = Failure::of(&ours.text(&value("erp", None)).unwrap_err());
    assert_eq!((failure.code(), failure.retry(), server.asked().len()), ("DK-SEC-032", Retry::AfterBackoff, 4));
    // What does not pass by itself is asked for once.
    server.answer(&[(400, &error("ResourceNotFoundException", "no"))]);
    assert_eq!(ours.text(&value("erp", None)).unwrap_err().code(), "DK-SEC-020");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn credentials_of_a_container_are_kept_and_replaced_when_they_have_expired() {
    let given = |secret: &str| {
        let expiration = "2999-01-01T00:00:00Z";
        serde_json::json!({ "AccessKeyId": "ASIDEXAMPLE", "SecretAccessKey": secret, "Token": "Pl4nted-token", "Expiration": expiration })
            .to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "Pl4nted-pod-token").unwrap();
    let agent = Scripted::start(&[(200, &given("Pl4nted-1")), (200, &given("Pl4nted-2"))]);
    let service = Scripted::start(&[(200, FOUND)]);
    let environment = BTreeMap::from([
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), format!("{}/v1/credentials", agent.endpoint)),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_owned(), token.display().to_string()),
    ]);
    let ours = client(&service.endpoint, Login::of_environment(&environment));
    for _ in 0..2 {
        ours.text(&value("erp", None)).unwrap();
    }
    assert_eq!(agent.asked().len(), 1, "the credentials are kept");
    assert!(agent.asked()[0].contains("authorization: pl4nted-pod-token"));
    assert!(service.asked()[0].contains("x-amz-security-token: pl4nted-token"));
    let expired = error("ExpiredTokenException", "The security token included in the request is expired");
    service.answer(&[(400, &expired), (200, FOUND)]);
    ours.text(&value("erp", None)).unwrap();
    assert_eq!(agent.asked().len(), 2, "others are asked for");
    service.answer(&[(400, &expired)]);
    assert_eq!(ours.text(&value("erp", None)).unwrap_err().code(), "DK-SEC-012");
    assert_eq!((agent.asked().len(), service.asked().len()), (3, 2));

    let refusing = Scripted::start(&[(403, "no, Pl4nted-pod-token")]);
    let uri = ("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), format!("{}/v1", refusing.endpoint));
    let environment = environment.into_iter().chain([uri]).collect();
    let failed = client(&service.endpoint, Login::of_environment(&environment)).text(&value("erp", None)).unwrap_err();
    assert_eq!(failed.code(), "DK-SEC-013");
    assert!(!format!("{failed} {failed:?}").contains("Pl4nted"), "{failed}");
}

/// Code, message and hint.
fn reported(error: &AwsError, server: &Scripted) -> String {
    let failure = Failure::of(error);
    assert!(failure.hint().is_some() && matches!(failure.kind(), Kind::User), "{failure:?}");
    let again = if failure.retry() == Retry::AfterBackoff { ", again" } else { "" };
    let text = format!("{error:?} {failure:?}");
    assert!(!text.contains("Pl4nted") && !text.contains('\u{1b}'), "{text}");
    let text = format!("error[{}{again}]: {failure}\n  hint: {}\n", failure.code(), failure.hint().unwrap());
    text.replace(&server.endpoint, "[endpoint]")
}

#[test]
fn what_goes_wrong_says_what_to_do() {
    let server = Scripted::start(&[(200, FOUND)]);
    let ours = client(&server.endpoint, keys("AKIDEXAMPLE", "Pl4nted-key", Some("Pl4nted-token")));
    let mut all = String::new();
    let mut report = |what: &str, error: AwsError| all += &format!("# {what}\n{}\n", reported(&error, &server));
    for (what, kind, message) in [
        ("access denied", "AccessDeniedException", "User: arn:aws:iam::1:user/etl is not authorized"),
        ("no such secret", "ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
        ("deleted", "InvalidRequestException", "You can't perform this operation: it is marked for deletion."),
        ("not decrypted", "DecryptionFailure", "Secrets Manager can't decrypt the protected secret text."),
        ("an expired token", "ExpiredTokenException", "The security token included in the request is expired"),
        ("an unknown key", "com.amazonaws#UnrecognizedClientException", "The security token is invalid."),
        ("a wrong region", "InvalidSignatureException", "Credential should be scoped to a valid region."),
        ("a message that repeats a secret", "InvalidSignatureException", "x-amz-security-token:Pl4nted-token"),
        ("control characters", "AccessDeniedException", "no\u{1b}[2Jway"),
        ("an unknown error", "StrangeException", "strange"),
    ] {
        server.answer(&[(400, &error(kind, message))]);
        report(what, ours.text(&value("erp", None)).unwrap_err());
    }
    let large = " ".repeat(2 << 20);
    for (what, status, body) in [
        ("a refusal without words", 403, "<html>no</html>"),
        ("HTML", 200, "<html>Pl4nted</html>"),
        ("a redirect", 302, ""),
        ("too large", 200, &large),
        ("in trouble", 503, "busy"),
        ("empty", 200, r#"{"SecretString": ""}"#),
        ("no value", 200, "{}"),
        ("a binary", 200, r#"{"SecretBinary": "UGw0bnRlZA=="}"#),
        ("a JSON object", 200, r#"{"SecretString": "{\"user\": \"x\", \"password\": \"Pl4nted\"}"}"#),
    ] {
        server.answer(&[(status, body)]);
        report(what, ours.text(&value("erp", None)).unwrap_err());
    }
    for (what, body) in [
        ("no such field", r#"{"SecretString": "{\"user\": \"x\", \"pass\": \"Pl4nted\"}"}"#),
        ("a field that is no text", r#"{"SecretString": "{\"password\": [\"Pl4nted\"]}"}"#),
        ("no JSON", r#"{"SecretString": "Pl4nted"}"#),
    ] {
        server.answer(&[(200, body)]);
        report(what, ours.text(&value("erp", Some("password"))).unwrap_err());
    }
    server.answer(&[(200, r#"{"SecretString": "Pl4nted!"}"#)]);
    report("no keytab", ours.keytab(&value("erp", None)).unwrap_err());
    report(
        "nobody there",
        client("http://127.0.0.1:1", keys("A", "Pl4nted", None)).text(&value("erp", None)).unwrap_err(),
    );
    report(
        "an invalid key",
        client(&server.endpoint, keys("A", "Pl4nted\n", None)).text(&value("erp", None)).unwrap_err(),
    );
    insta::assert_snapshot!(all);
}
