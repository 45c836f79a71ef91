//! Every question to the application can be asked from a task that moves between threads, as a server does.

use std::path::Path;

use datakit_app::{
    Context, DoctorRequest, IngestRequest, LockRequest, PlanRequest, PreviewRequest, PullRequest, ReconcileRequest,
    Run, RunRequest, ServeHealthRequest,
};

fn assert_send(_: impl Send) {}

#[expect(dead_code, reason = "compiling it is the test")]
fn futures_are_send(
    context: &'static Context,
    run: &mut Run<'static>,
    health: &ServeHealthRequest,
    reconciliation: &ReconcileRequest,
) {
    assert_send(Run::prepare(context, RunRequest::default()));
    assert_send(run.next());
    assert_send(datakit_app::plan(context, &PlanRequest::default()));
    assert_send(datakit_app::preview(context, &PreviewRequest { ingest: IngestRequest::default(), rows: 1 }));
    assert_send(datakit_app::discover(context, &IngestRequest::default()));
    assert_send(datakit_app::reconcile(context, reconciliation));
    assert_send(datakit_app::doctor(context, &DoctorRequest::default(), &()));
    assert_send(datakit_app::serve_health(context, health));
    assert_send(datakit_app::publish(context, Path::new("a.wasm")));
    assert_send(datakit_app::pull(context, &PullRequest { datakit: String::new(), to: None }));
    assert_send(datakit_app::list(context, None));
    assert_send(datakit_app::inspect(context, "a"));
    assert_send(datakit_app::lock(context, LockRequest::default()));
}
