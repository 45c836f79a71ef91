//! What `host kerberos renew` does when a KDC, the network, the disk or the keytab is not as it should be.

use std::path::PathBuf;

use datakit_fake_sqlserver::kdc::Kdc;
use datakit_tests::{KerberosWorld, Started};

use crate::SCRIPT;
use crate::sidecar::{free_address, get, start};

/// How many tickets this KDC has given to the account.
fn granted(kdc: &Kdc) -> usize {
    requests(kdc, "ISSUE")
}

/// How many requests of the account for a ticket came to this end.
fn requests(kdc: &Kdc, end: &str) -> usize {
    kdc.log().lines().filter(|line| line.contains("AS_REQ") && line.contains(end)).count()
}

/// Makes krb5.conf name these KDCs, in this order.
fn name_kdcs(world: &KerberosWorld, addresses: &[String]) {
    let before = world.kdc.client_settings("", &[&world.kdc]);
    let line = format!("  kdc = 127.0.0.1:{}\n", world.kdc.port());
    assert!(before.contains(&line), "{before}");
    let lines: String = addresses.iter().map(|address| format!("  kdc = {address}\n")).collect();
    std::fs::write(world.kdc.krb5_conf(), before.replacen(&line, &lines, 1)).unwrap();
}

fn address(kdc: &Kdc) -> String {
    format!("127.0.0.1:{}", kdc.port())
}

fn renewals(sidecar: &Started) -> usize {
    sidecar.stderr().matches("datakit: renewed").count()
}

fn failures(sidecar: &Started) -> usize {
    sidecar.stderr().matches("not renewed").count()
}

fn is_ready(address: &str) -> bool {
    get(address, "/health/ready").0.contains("200")
}

/// A sidecar that has its first ticket, its cache and where it answers.
fn running(world: &KerberosWorld, more: &[&str]) -> (Started, PathBuf, String) {
    let (cache, address) = (world.kdc.path("shared-cache"), free_address());
    let mut sidecar = start(world, &cache, &[&["--health", &address, "--interval", "1s"], more].concat());
    sidecar.wait_until("the first ticket", |it| renewals(it) == 1);
    (sidecar, cache, address)
}

#[test]
fn a_kdc_that_is_away_is_waited_for_and_the_next_one_asked() {
    let Some(mut world) = KerberosWorld::new(SCRIPT) else { return };
    let cache = world.kdc.path("shared-cache");
    world.kdc.stop();
    let health = free_address();
    let mut sidecar = start(&world, &cache, &["--health", &health]);
    sidecar.wait_until("a failure", |it| failures(it) > 0);
    assert!(get(&health, "/health/live").0.contains("200"));
    let (status, body) = get(&health, "/health/ready");
    assert!(status.contains("503") && body.contains("no KDC answers"), "{status} {body}");
    world.kdc.resume().unwrap();
    sidecar.wait_until("a ticket", |_| is_ready(&health));
    drop(sidecar);

    // Of two KDCs the first is away.
    name_kdcs(&world, &[free_address(), address(&world.kdc)]);
    let once = start(&world, &world.kdc.path("another-cache"), &["--once"]).end();
    assert_eq!(once.code, Some(0), "{}", once.stderr);
}

#[test]
fn the_kdcs_of_krb5_conf_take_turns() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let second = world.kdc.replica().unwrap();
    name_kdcs(&world, &[address(&world.kdc), address(&second)]);
    let (mut sidecar, _, _) = running(&world, &[]);
    sidecar.wait_until("six tickets", |it| renewals(it) >= 6);
    sidecar.signal("TERM");
    let said = sidecar.end().stderr;
    let (one, other) = (granted(&world.kdc), granted(&second));
    assert!(one >= 3 && other >= 3 && one.abs_diff(other) <= 1, "{one} and {other}:\n{said}");
}

#[test]
fn after_a_kdc_that_answers_with_an_error_the_other_is_asked() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let second = world.kdc.replica().unwrap();
    name_kdcs(&world, &[address(&world.kdc), address(&second)]);
    // The library itself goes on to the next KDC only where one does not answer.
    world.kdc.set_broken(true).unwrap();
    let once = start(&world, &world.kdc.path("another-cache"), &["--once"]).end();
    assert!(once.code == Some(1) && once.stderr.contains("DK-KRB-090"), "{}", once.stderr);
    assert_eq!(granted(&second), 0);

    let (mut sidecar, _, health) = running(&world, &[]);
    assert_eq!((failures(&sidecar), granted(&world.kdc), granted(&second)), (1, 0, 1), "{}", sidecar.stderr());
    // The other way round.
    world.kdc.set_broken(false).unwrap();
    second.set_broken(true).unwrap();
    sidecar.wait_until("tickets of the first", |_| granted(&world.kdc) >= 2);
    sidecar.wait_until("a failure of the second", |it| failures(it) >= 2);
    assert!(is_ready(&health));
}

#[test]
fn with_a_ticket_in_hand_what_may_pass_is_waited_for() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let (mut sidecar, cache, health) = running(&world, &[]);
    let settings = std::fs::read_to_string(world.kdc.krb5_conf()).unwrap();
    let mut troubled = |what: &str, code: &str, begin: &dyn Fn(), end: &dyn Fn()| {
        let (failed, written) = (failures(&sidecar), std::fs::read(&cache).unwrap());
        begin();
        sidecar.wait_until(what, |it| failures(it) > failed + 1);
        assert!(sidecar.stderr().contains(code), "{}", sidecar.stderr());
        let (status, body) = get(&health, "/health/ready");
        assert!(status.contains("200") && body.contains("not renewed: "), "{what}: {status} {body}");
        end();
        let renewed = renewals(&sidecar);
        sidecar.wait_until("another ticket", |it| renewals(it) > renewed);
        assert!(std::fs::read(&cache).unwrap() != written, "{what}");
    };

    // What the library says where DNS names the KDCs and is away.
    let without = || name_kdcs(&world, &[]);
    let restore = || std::fs::write(world.kdc.krb5_conf(), &settings).unwrap();
    troubled("no KDC named", "DK-KRB-035", &without, &restore);
    troubled("an error of the KDC", "DK-KRB-090", &|| world.kdc.set_broken(true).unwrap(), &|| {
        world.kdc.set_broken(false).unwrap();
    });
    let (keytab, away) = (&world.keytab, world.kdc.path("away.keytab"));
    troubled("no keytab", "DK-KRB-010", &|| std::fs::rename(keytab, &away).unwrap(), &|| {
        std::fs::rename(&away, keytab).unwrap();
    });
    assert!(sidecar.stderr().lines().all(|line| !line.contains("panic")));

    // The account itself: nothing to wait for.
    world.kdc.admin("modprinc -allow_tix svc-etl").unwrap();
    let end = sidecar.end();
    assert!(end.code == Some(1) && end.stderr.contains("DK-KRB-032"), "{}", end.stderr);
}

#[test]
fn a_cache_that_cannot_be_written_is_tried_again() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let folder = world.kdc.path("run");
    std::fs::create_dir(&folder).unwrap();
    let mut sidecar = start(&world, &folder.join("cache"), &["--interval", "1s"]);
    sidecar.wait_until("the first ticket", |it| renewals(it) == 1);
    std::fs::rename(&folder, world.kdc.path("moved")).unwrap();
    sidecar.wait_until("two failures", |it| failures(it) > 1);
    assert!(sidecar.stderr().contains("DK-KRB-060"), "{}", sidecar.stderr());
    std::fs::rename(world.kdc.path("moved"), &folder).unwrap();
    let renewed = renewals(&sidecar);
    sidecar.wait_until("another ticket", |it| renewals(it) > renewed);
}

#[test]
fn without_a_kdc_it_is_ready_until_its_ticket_ends() {
    let Some(mut world) = KerberosWorld::new(SCRIPT) else { return };
    world.kdc.admin("modprinc -maxlife \"6 sec\" svc-etl").unwrap();
    let (mut sidecar, _, health) = running(&world, &[]);
    world.kdc.stop();
    sidecar.wait_until("a failure", |it| failures(it) > 0);
    let (status, body) = get(&health, "/health/ready");
    assert!(status.contains("200") && body.contains("no KDC answers"), "{status} {body}");
    sidecar.wait_until("the end of the ticket", |_| !is_ready(&health));
    world.kdc.resume().unwrap();
    sidecar.wait_until("a ticket", |_| is_ready(&health));
}

#[test]
fn a_keytab_that_is_refused_ends_it_with_the_reason() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.kdc.keytab("svc-etl", "newer.keytab").unwrap();
    let cache = world.kdc.path("shared-cache");
    insta::assert_snapshot!(world.refusal(&start(&world, &cache, &[]).end()));
    let nowhere = world.kdc.path("no-folder/cache");
    world.kdc.admin(&format!("ktadd -k {} svc-etl", world.keytab.display())).unwrap();
    insta::assert_snapshot!(world.refusal(&start(&world, &nowhere, &[]).end()));
    insta::assert_snapshot!(world.refusal(&start(&world, &cache, &["--group", "nobody-has-this"]).end()));
}

#[test]
fn a_refused_key_is_not_sent_again_by_those_that_are_started_after_it() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.kdc.admin("modprinc +requires_preauth svc-etl").unwrap();
    world.kdc.keytab("svc-etl", "newer.keytab").unwrap();
    let cache = world.kdc.path("shared-cache");
    let first = start(&world, &cache, &[]).end();
    assert!(first.code == Some(1) && first.stderr.contains("DK-KRB-030"), "{}", first.stderr);
    let (asked, refused) = (requests(&world.kdc, ""), requests(&world.kdc, "PREAUTH_FAILED"));
    assert!((1..=2).contains(&refused), "{}", world.kdc.log());

    // Whoever watches over it starts it again and again.
    for more in [&[][..], &["--once"], &[]] {
        let again = start(&world, &cache, more).end();
        assert!(again.code == Some(1) && again.stderr.contains("DK-KRB-039"), "{}", again.stderr);
    }
    assert_eq!(requests(&world.kdc, ""), asked, "{}", world.kdc.log());

    // Another key is tried at once, and nothing stays behind.
    std::fs::rename(world.kdc.path("newer.keytab"), &world.keytab).unwrap();
    let once = start(&world, &cache, &["--once"]).end();
    assert_eq!(once.code, Some(0), "{}", once.stderr);
    assert!(!world.kdc.path(".shared-cache.refused").exists());
    assert_eq!(requests(&world.kdc, "PREAUTH_FAILED"), refused);
}
