//! Rules of quality: which count for a table, and their part of its load.

use std::collections::HashSet;
use std::sync::Arc;

use datakit_model::datakit::{RoleColumns, TablePlan};
use datakit_model::quality::{Check, DeclaredBy, OperatorRule, OperatorSays, Rule, RuleResult, TableRule};
use datakit_model::sink::{Target, WriteMode};
use datakit_model::{Failure, TableId};
use datakit_quality::{Checks, Facts, HeldKeys, KeyRead, PartitionOutcome, QualityError};

use crate::context::TableContext;
use crate::error::RunError;
use crate::event::{NoticeLevel, Observer, RunEvent};
use crate::job::Job;
use crate::partition::PartitionResult;
use crate::prepare::Prepared;
use crate::writing;

/// The rules of a table: the datakit's as the operator changes them, then the operator's own.
///
/// # Errors
/// Two rules of one name, a rule that refers to its own table.
pub(crate) fn rules_of(
    operator: &[OperatorRule],
    table: &TableId,
    proposed: &[Rule],
) -> Result<Vec<TableRule>, QualityError> {
    let of_table: Vec<&OperatorRule> = operator.iter().filter(|rule| applies(rule, table)).collect();
    let datakits = proposed.iter().map(|rule| changed(rule, &of_table));
    let own = of_table.iter().filter_map(|said| match &said.says {
        OperatorSays::Rule(rule) => {
            Some(TableRule { rule: rule.clone(), declared_by: DeclaredBy::Operator, is_off: false })
        }
        OperatorSays::Severity(_) => None,
    });
    let rules: Vec<TableRule> = datakits.chain(own).collect();
    let mut seen = HashSet::with_capacity(rules.len());
    for rule in &rules {
        let problem = match &rule.rule.check {
            _ if !seen.insert(&rule.rule.name) => "another rule of the table has the same name",
            Check::Reference { table: other, .. } if other == table => "it refers to its own table",
            _ => continue,
        };
        let (table, problem) = (table.to_string(), problem.to_owned());
        return Err(QualityError::Invalid { table, rule: rule.into(), problem });
    }
    Ok(rules)
}

fn applies(rule: &OperatorRule, table: &TableId) -> bool {
    rule.tables.as_ref().is_none_or(|tables| tables.allows(table))
}

/// A rule of the datakit, as the operator changes it. The last word counts.
fn changed(rule: &Rule, operator: &[&OperatorRule]) -> TableRule {
    let said = operator.iter().rev().find_map(|said| match said.says {
        OperatorSays::Severity(severity) if said.name == rule.name => Some(severity),
        _ => None,
    });
    let severity = said.flatten().unwrap_or(rule.severity);
    TableRule {
        rule: Rule { severity, ..rule.clone() },
        declared_by: DeclaredBy::Datakit,
        is_off: said.is_some_and(|severity| severity.is_none()),
    }
}

/// Says what of the operator's rules concerns nothing: it is probably misspelt.
pub(crate) fn report_unused(job: &Job, prepared: &[Prepared], observer: &dyn Observer) {
    let plans = || prepared.iter().filter_map(|table| table.plan.as_ref().ok().map(|(_, plan)| plan));
    if plans().next().is_none() {
        return;
    }
    for said in &job.quality {
        let mut of_tables = plans().filter(|plan| applies(said, &plan.table)).peekable();
        let unused = match &said.says {
            _ if of_tables.peek().is_none() => "its `tables` match no table that is read",
            OperatorSays::Severity(_) if !of_tables.any(|plan| plan.rules.iter().any(|it| it.name == said.name)) => {
                "the datakit has no rule of that name"
            }
            _ => continue,
        };
        let text = format!("the rule `{}` of quality changes nothing: {unused}", said.name);
        observer.event(RunEvent::Notice { level: NoticeLevel::Warning, text });
    }
}

/// Compiles the rules of a table for its rows; none: there is no rule.
///
/// # Errors
/// A rule that does not fit the rows.
pub(crate) fn compile(
    context: &TableContext,
    plan: &TablePlan,
    target: &Target,
    roles: &RoleColumns,
) -> Result<Option<Arc<Checks>>, Failure> {
    let rules = context.job.rules(plan)?;
    if rules.is_empty() {
        return Ok(None);
    }
    let replaces = target.mode != WriteMode::Append;
    let checks = Checks::new(&plan.table, &rules, &target.schema, (&target.keys, replaces), roles)?;
    Ok(Some(Arc::new(checks)))
}

/// What was found of each rule, in `found`, before the table is committed.
///
/// # Errors
/// A rule of severity `stop` does not hold; the sink or a temporary file cannot be read.
pub(crate) async fn examine(
    context: &TableContext,
    plan: &TablePlan,
    partitions: &mut [PartitionResult],
    found: &mut Vec<RuleResult>,
) -> Result<(), Failure> {
    found.clear();
    let Some(checks) = context.checks.clone() else { return Ok(()) };
    let outcomes: Vec<PartitionOutcome> = partitions.iter_mut().filter_map(|it| it.quality.take()).collect();
    let mut held = Vec::new();
    for read in checks.key_reads() {
        held.extend(held_keys(context, &checks, &read).await?);
    }
    let facts = facts(context, plan, &checks).await?;
    let examined = Arc::clone(&checks);
    let results = tokio::task::spawn_blocking(move || examined.results(&outcomes, &held, &facts));
    let crashed =
        |crash: tokio::task::JoinError| RunError::Crashed { table: plan.table.clone(), message: crash.to_string() };
    *found = results.await.map_err(crashed)??;
    Ok(checks.may_commit(found)?)
}

/// The keys of a table of the sink; none: the target is not there yet.
async fn held_keys(context: &TableContext, checks: &Arc<Checks>, read: &KeyRead) -> Result<Option<HeldKeys>, Failure> {
    let table = read.table.as_ref().unwrap_or(&context.table);
    let source_system = &context.job.run.source_system;
    let values = context.destination.sink.values(source_system, table, &read.columns);
    let Some(mut values) = context.unless_stopped(values).await? else {
        return if read.table.is_some() { Err(checks.not_in_sink(read).into()) } else { Ok(None) };
    };
    let mut held = HeldKeys::new(Arc::clone(checks), read.rule);
    while let Some(batch) = context.unless_stopped(values.next()).await? {
        held.add(&batch)?;
    }
    Ok(Some(held.finish()?))
}

async fn facts(context: &TableContext, plan: &TablePlan, checks: &Checks) -> Result<Facts, Failure> {
    let mode = writing::mode(context.destination.mode, plan.write);
    let replaces_all = mode == WriteMode::Overwrite;
    let last_rows = if checks.compares_last_load() {
        let document = context.destination.sink.document(&context.job.run.source_system, &context.table).await;
        // An overwrite goes on after a state that does not count.
        let document = if replaces_all { document.unwrap_or_default() } else { document? };
        document.map(|document| document.written.rows)
    } else {
        None
    };
    Ok(Facts {
        started_at_micros: context.job.run.started_at_micros,
        last_rows,
        goes_on: !replaces_all && context.job.planned_from(&context.table).flatten().is_some(),
    })
}

#[cfg(test)]
mod tests {
    use datakit_model::quality::Severity;
    use datakit_model::{Diagnostic, TablePatterns};

    use super::*;

    fn rule(name: &str, severity: Severity) -> Rule {
        Rule { name: name.to_owned(), columns: vec!["id".to_owned()], check: Check::NotNull, severity }
    }

    fn said(name: &str, tables: Option<&str>, says: OperatorSays) -> OperatorRule {
        let tables = tables.map(|pattern| TablePatterns::new(vec![pattern.parse().unwrap()]));
        OperatorRule { name: name.to_owned(), tables, says }
    }

    fn of_orders(operator: &[OperatorRule], proposed: &[Rule]) -> Result<Vec<(String, Severity, bool)>, String> {
        let rules = rules_of(operator, &TableId::new("dbo", "orders"), proposed);
        let shown = |rule: TableRule| (rule.rule.name, rule.rule.severity, rule.is_off);
        rules.map(|rules| rules.into_iter().map(shown).collect()).map_err(|error| format!("{} {error}", error.code()))
    }

    #[test]
    fn operator_changes_rules_of_the_datakit_by_name_and_table() {
        let proposed = [rule("key", Severity::Warn), rule("dates", Severity::Warn)];
        let operator = [
            said("key", Some("dbo.*"), OperatorSays::Severity(Some(Severity::Stop))),
            said("dates", Some("dbo.orders"), OperatorSays::Severity(None)),
            said("key", Some("sales.*"), OperatorSays::Severity(None)),
            said("own", None, OperatorSays::Rule(rule("own", Severity::Stop))),
            said("other", Some("dbo.o*r"), OperatorSays::Rule(rule("other", Severity::Stop))),
        ];
        assert_eq!(
            of_orders(&operator, &proposed).unwrap(),
            [
                ("key".to_owned(), Severity::Stop, false),
                ("dates".to_owned(), Severity::Warn, true),
                ("own".to_owned(), Severity::Stop, false),
            ]
        );
    }

    #[test]
    fn two_rules_of_one_name_and_a_reference_to_itself_are_refused() {
        let own = said("key", None, OperatorSays::Rule(rule("key", Severity::Stop)));
        assert_eq!(
            of_orders(&[own], &[rule("key", Severity::Warn)]).unwrap_err(),
            "DK-RUN-055 the rule `key` of dbo.orders is invalid: another rule of the table has the same name"
        );
        let check = Check::Reference { table: TableId::new("dbo", "orders"), columns: vec!["id".to_owned()] };
        let own = said("up", None, OperatorSays::Rule(Rule { check, ..rule("up", Severity::Stop) }));
        assert_eq!(
            of_orders(&[own], &[]).unwrap_err(),
            "DK-RUN-055 the rule `up` of dbo.orders is invalid: it refers to its own table"
        );
    }
}
