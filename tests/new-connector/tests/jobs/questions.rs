//! Validate, doctor, discover, plan and preview with the new connector.

use datakit_app::{
    Context, Diagnosis, DoctorRequest, IngestRequest, LinkStatus, PlanRequest, PreviewRequest, Reports, Subject,
    ValidateRequest, Walked, discover, doctor, plan, preview, validate,
};
use datakit_config::Place;
use datakit_connect::probe::{LOGIN, SECRET, SETTINGS, TCP};

use crate::server::PASSWORD;
use crate::world::{World, texts};

#[tokio::test(flavor = "multi_thread")]
async fn valid_file_is_counted() {
    let world = World::new().await;
    let validated = validate(&world.context(), ValidateRequest { secrets: true }).unwrap();
    assert_eq!((validated.connections, validated.sinks, validated.ingests), (1, 1, 1));
    assert_eq!(validated.warnings, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_settings_are_reported_with_their_places() {
    let world = World::new().await;
    let unknown = world.edit("source_system = \"BRIDGE\"", "colour = \"red\"");
    let range = world.edit(&format!("port = {}", world.server.port()), "port = 70000");
    let reports = validate(&world.context(), ValidateRequest::default()).unwrap_err();
    assert_eq!(found(&reports), [("DK-CFG-003", unknown), ("DK-CFG-007", range)]);
    assert!(reports.all()[0].message.contains("`connections.bridge.colour`"), "{reports}");
    assert!(reports.all()[1].message.contains("`connections.bridge.port`"), "{reports}");
}

/// The code and the line of each error, by line.
fn found(reports: &Reports) -> Vec<(&str, usize)> {
    let line = |place: Option<&Place>| match place {
        Some(Place::File(at)) => at.line,
        other => panic!("{other:?}"),
    };
    let mut found: Vec<_> =
        reports.all().iter().map(|report| (report.code.as_str(), line(report.place.as_ref()))).collect();
    found.sort_by_key(|(_, line)| *line);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_setting_and_missing_secret_are_reported() {
    let world = World::new().await;
    let reports = validate(&world.context_with_password(""), ValidateRequest { secrets: true }).unwrap_err();
    assert_eq!(reports.all().len(), 1, "{reports}");
    assert_eq!(reports.all()[0].code, "DK-CFG-010");
    world.edit("host = \"127.0.0.1\"\n", "");
    let reports = validate(&world.context(), ValidateRequest::default()).unwrap_err();
    assert_eq!(reports.all().len(), 1, "{reports}");
    assert_eq!(reports.all()[0].code, "DK-CFG-005");
    assert!(reports.all()[0].hint.as_ref().unwrap().contains("LOGBOOK_HOST"), "{:?}", reports.all()[0].hint);
}

/// The chain of the connection.
async fn walked(context: &Context) -> Walked {
    let request = DoctorRequest { name: Some("bridge".to_owned()), ..DoctorRequest::default() };
    let Diagnosis { chains, .. } = doctor(context, &request, &()).await.unwrap();
    let is_it = |walked: &Walked| matches!(walked.subject, Subject { kind: "connection", .. });
    let walked = chains.into_iter().find(is_it).unwrap();
    assert!(!format!("{walked:?}").contains(PASSWORD));
    walked
}

/// Each link and how it was found.
fn links(walked: &Walked) -> Vec<(&str, LinkStatus)> {
    walked.links.iter().map(|link| (link.link, link.status)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_walks_every_link() {
    let world = World::new().await;
    let walked = walked(&world.context()).await;
    let ok = [SETTINGS, SECRET, TCP, LOGIN, "tables"].map(|link| (link, LinkStatus::Ok));
    assert_eq!(links(&walked), ok, "{walked:?}");
    assert_eq!(walked.subject.target, format!("logbook at 127.0.0.1:{}", world.server.port()));
    assert_eq!(walked.links[4].detail.as_deref(), Some("`the host` may read 2 chosen tables"));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_a_server_that_is_away() {
    let mut world = World::new().await;
    world.server.stop().await;
    let walked = walked(&world.context()).await;
    let (link, error) = walked.broken().unwrap();
    assert_eq!((link.link, error.code.as_str()), (TCP, "DK-LGB-001"));
    assert!(error.hint.is_some());
    assert_eq!(links(&walked)[3..], [(LOGIN, LinkStatus::NotReached), ("tables", LinkStatus::NotReached)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_a_wrong_password() {
    let world = World::new().await;
    let walked = walked(&world.context_with_password("Pl4nted-another")).await;
    let (link, error) = walked.broken().unwrap();
    assert_eq!((link.link, error.code.as_str()), (LOGIN, "DK-LGB-002"));
    assert!(error.message.ends_with("wrong password"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_a_book_that_is_not_there() {
    let world = World::new().await;
    world.edit("logbook.*", "logbook.galley");
    let walked = walked(&world.context()).await;
    let (link, error) = walked.broken().unwrap();
    assert_eq!((link.link, error.code.as_str()), ("tables", "DK-LGB-007"));
}

#[tokio::test(flavor = "multi_thread")]
async fn discover_lists_books_and_their_columns() {
    let world = World::with_datakit().await;
    let request = IngestRequest { tables: vec!["logbook.deck".to_owned()], ..IngestRequest::default() };
    let discovered = discover(&world.context(), &request).await.unwrap();
    assert!(discovered.failures.is_none(), "{discovered:?}");
    let tables = discovered.tables.iter().map(|t| (t.table.as_str(), t.selected, t.estimated_rows));
    assert_eq!(tables.collect::<Vec<_>>(), [("logbook.deck", true, Some(3)), ("logbook.engine", false, Some(2))]);
    let columns = discovered.tables[0].columns.iter().map(|c| (c.name.as_str(), c.r#type.as_str(), c.nullable));
    let expected =
        [("id", "Int64", false), ("day", "Date32", false), ("minutes", "Int64", false), ("note", "Utf8", true)];
    assert_eq!(columns.collect::<Vec<_>>(), expected);
    assert_eq!(discovered.tables[0].primary_key, ["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_and_preview_answer_without_writing() {
    let world = World::with_datakit().await;
    let planned = plan(&world.context(), &PlanRequest::default()).await.unwrap();
    let tables = planned.tables.iter().map(|t| (t.table.as_str(), t.partitions.len(), t.columns));
    assert_eq!(tables.collect::<Vec<_>>(), [("logbook.deck", 1, 4), ("logbook.engine", 1, 4)]);
    assert!(planned.tables[0].target.as_ref().unwrap().ends_with("bronze/BRIDGE/logbook/deck"), "{planned:?}");

    let request = PreviewRequest { ingest: IngestRequest::default(), rows: 2 };
    let previewed = preview(&world.context(), &request).await.unwrap();
    let deck = previewed.tables.iter().find(|preview| preview.table.name == "deck").unwrap();
    let rows: Vec<_> = deck.batches.iter().flat_map(|batch| texts(batch, &["id", "_bronze_source_table"])).collect();
    assert_eq!(rows, [["1", "deck"], ["2", "deck"]]);
    assert!(world.nothing_written());
}
