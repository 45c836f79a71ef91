//! The walk over queries, tables and joins.

use std::marker::PhantomData;

use datakit_model::{TableId, TablePatterns};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause, ObjectName, OrderBy,
    OrderByExpr, OrderByKind, Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    SetOperator, SetQuantifier, TableAlias, TableFactor, TableWithJoins, TopQuantity, WildcardAdditionalOptions,
};

use super::catalog::{CatalogTable, NamedTable};
use super::{Dialect, Profile, Refusal, too_deep};
use crate::SqlLimits;

/// One walk over one query. Each method returns at the first thing that is not listed.
pub(crate) struct Walk<'a, D> {
    profile: Profile,
    pub(super) grant: &'a TablePatterns,
    limits: &'a SqlLimits,
    depth: u64,
    /// Names of the common table expressions in scope, exactly as written: in a case-sensitive database `T` does not
    /// hide a table `t`.
    common: Vec<String>,
    /// The common table expression whose recursive member is walked, for the tables of this member alone.
    recursive: Option<String>,
    /// The catalog views that a column's name can reach here.
    pub(super) catalog: Vec<CatalogTable>,
    /// The names of tables that can stand before a column's here.
    pub(super) named: Vec<NamedTable>,
    /// The granted tables it reads, one entry a mention.
    pub(crate) tables: Vec<TableId>,
    /// A table is read without waiting for those who change it.
    pub(crate) dirty_reads: bool,
    /// The catalog views it reads, one entry a mention.
    pub(crate) catalog_views: Vec<TableId>,
    dialect: PhantomData<D>,
}

/// How much names can reach.
#[derive(Clone, Copy)]
struct Reach {
    catalog: usize,
    named: usize,
}

pub(crate) fn construct<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Construct(what.into()))
}

/// Refuses what a construct must not have.
pub(super) fn none(absent: bool, what: &str) -> Result<(), Refusal> {
    if absent { Ok(()) } else { construct(what) }
}

impl<'a, D: Dialect> Walk<'a, D> {
    pub(crate) fn new(profile: Profile, grant: &'a TablePatterns, limits: &'a SqlLimits) -> Self {
        Self {
            profile,
            grant,
            limits,
            depth: 0,
            common: Vec::new(),
            recursive: None,
            catalog: Vec::new(),
            named: Vec::new(),
            tables: Vec::new(),
            dirty_reads: false,
            catalog_views: Vec::new(),
            dialect: PhantomData,
        }
    }

    /// Whether every table that was met is a catalog view, and there is one.
    pub(crate) fn reads_only_the_catalog(&self) -> bool {
        !self.catalog_views.is_empty() && self.tables.is_empty()
    }

    /// Runs one step deeper.
    pub(super) fn deeper<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.depth += 1;
        if self.depth > self.limits.max_syntax_depth {
            return Err(too_deep(self.limits));
        }
        let result = step(self);
        self.depth -= 1;
        result
    }

    pub(crate) fn query(&mut self, query: &Query) -> Result<(), Refusal> {
        self.query_of(query, None)
    }

    /// A query whose tables no name outside of it can reach.
    pub(super) fn subquery(&mut self, query: &Query) -> Result<(), Refusal> {
        let reached = self.reach();
        self.query(query)?;
        self.leave(reached);
        Ok(())
    }

    /// What names can reach here.
    fn reach(&self) -> Reach {
        Reach { catalog: self.catalog.len(), named: self.named.len() }
    }

    /// Names reach no more than they did before.
    fn leave(&mut self, reached: Reach) {
        self.catalog.truncate(reached.catalog);
        self.named.truncate(reached.named);
    }

    /// A query, or the definition of the common table expression `own`.
    fn query_of(&mut self, query: &Query, own: Option<&str>) -> Result<(), Refusal> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        none(locks.is_empty() && for_clause.is_none(), "FOR")?;
        none(
            settings.is_none() && format_clause.is_none() && pipe_operators.is_empty(),
            "a clause of another dialect",
        )?;
        let outer = self.common.len();
        let outer_recursive = self.recursive.take();
        none(with.as_ref().is_none_or(|with| !with.recursive), "RECURSIVE")?;
        for table in with.iter().flat_map(|with| &with.cte_tables) {
            none(table.from.is_none() && table.materialized.is_none(), "a clause of another dialect")?;
            self.alias(&table.alias)?;
            none(!D::is_temporary(&table.alias.name), "the name of a temporary table")?;
            let name = D::compared(&table.alias.name);
            let reached = self.reach();
            self.deeper(|walk| walk.query_of(&table.query, D::COMMON_TABLES_RECUR.then_some(name.as_str())))?;
            self.leave(reached);
            self.common.push(name);
        }
        self.set_expression(body, own.filter(|_| with.is_none()))?;
        if let Some(order_by) = order_by {
            self.order_by(order_by, &result_names::<D>(body))?;
        }
        match limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit: None, offset: Some(offset), limit_by }) if limit_by.is_empty() => {
                self.expression(&offset.value)?;
            }
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if D::LIMIT && limit_by.is_empty() => {
                limit.iter().chain(offset.as_ref().map(|offset| &offset.value)).try_for_each(|e| self.expression(e))?;
            }
            Some(_) => return construct("LIMIT"),
        }
        if let Some(quantity) = fetch.as_ref().and_then(|fetch| fetch.quantity.as_ref()) {
            self.expression(quantity)?;
        }
        self.common.truncate(outer);
        self.recursive = outer_recursive;
        Ok(())
    }

    /// A chain of UNIONs leans to the left, so it is followed in a loop: its length is bounded by tokens, not by depth.
    ///
    /// Members after the first may read the common table expression `own` that the chain defines, if nothing but UNION ALL stands
    /// before and after them. Elsewhere its name is that of a table: that is how servers read it which know no recursion there.
    fn set_expression(&mut self, body: &SetExpr, own: Option<&str>) -> Result<(), Refusal> {
        let (mut body, mut own) = (body, own);
        let mut chained = false;
        let reached = self.reach();
        while let SetExpr::SetOperation { op, set_quantifier, left, right } = body {
            own = own.filter(|_| *op == SetOperator::Union && *set_quantifier == SetQuantifier::All);
            self.deeper(|walk| match (&**right, own) {
                (SetExpr::Select(select), Some(own)) => {
                    walk.recursive = Some(own.to_owned());
                    walk.select(select)?;
                    walk.recursive = None;
                    Ok(())
                }
                (right, _) => walk.set_expression(right, None),
            })?;
            self.leave(reached);
            chained = true;
            body = left;
        }
        match body {
            SetExpr::Select(select) => self.select(select),
            // ORDER BY behind a query in parentheses reaches into it, so what it reaches is kept.
            SetExpr::Query(query) => self.deeper(|walk| walk.query(query)),
            SetExpr::Values(values) => {
                values.rows.iter().flat_map(|row| &row.content).try_for_each(|value| self.expression(value))
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                construct("a statement that writes")
            }
            _ => construct("this form of a query"),
        }?;
        if chained {
            self.leave(reached);
        }
        Ok(())
    }

    fn select(&mut self, select: &Select) -> Result<(), Refusal> {
        none(select.into.is_none(), "INTO")?;
        none(matches!(select.distinct, None | Some(Distinct::Distinct | Distinct::All)), "DISTINCT ON")?;
        none(
            select.optimizer_hints.is_empty()
                && select.select_modifiers.is_none()
                && select.exclude.is_none()
                && select.lateral_views.is_empty()
                && select.prewhere.is_none()
                && select.connect_by.is_empty()
                && select.cluster_by.is_empty()
                && select.distribute_by.is_empty()
                && select.sort_by.is_empty()
                && select.named_window.is_empty()
                && select.qualify.is_none()
                && select.value_table_mode.is_none()
                && matches!(select.flavor, SelectFlavor::Standard),
            "a clause of another dialect",
        )?;
        let reached = self.catalog.len();
        self.reach_catalog(&select.from)?;
        if let Some(TopQuantity::Expr(quantity)) = select.top.as_ref().and_then(|top| top.quantity.as_ref()) {
            self.expression(quantity)?;
        }
        select.projection.iter().try_for_each(|item| self.item(item, reached))?;
        select.from.iter().try_for_each(|table| self.joined(table))?;
        match &select.group_by {
            GroupByExpr::Expressions(list, modifiers) if modifiers.is_empty() => {
                list.iter().try_for_each(|e| self.expression(e))?;
            }
            _ => return construct("this form of GROUP BY"),
        }
        select.selection.iter().chain(&select.having).try_for_each(|e| self.expression(e))
    }

    fn item(&mut self, item: &SelectItem, reached: usize) -> Result<(), Refusal> {
        match item {
            SelectItem::UnnamedExpr(expression) => self.expression(expression),
            SelectItem::ExprWithAlias { expr, alias } => {
                new_name::<D>(alias)?;
                self.expression(expr)
            }
            SelectItem::Wildcard(options) => {
                self.wildcard(reached)?;
                plain_wildcard(options)
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(table), options) => {
                table.0.iter().filter_map(|part| part.as_ident()).try_for_each(|part| {
                    name::<D>(part)?;
                    self.wildcard_of(part)
                })?;
                plain_wildcard(options)
            }
            _ => construct("this form of a column"),
        }
    }

    fn order_by(&mut self, order_by: &OrderBy, names: &[String]) -> Result<(), Refusal> {
        none(order_by.interpolate.is_none(), "INTERPOLATE")?;
        match &order_by.kind {
            OrderByKind::Expressions(list) => self.order_list(list, names),
            OrderByKind::All(_) => construct("ORDER BY ALL"),
        }
    }

    /// `names` are those of the result's columns, as far as this ORDER BY knows them.
    pub(super) fn order_list(&mut self, list: &[OrderByExpr], names: &[String]) -> Result<(), Refusal> {
        list.iter().try_for_each(|order| {
            none(order.with_fill.is_none() && order.options.nulls_first.is_none(), "this form of ORDER BY")?;
            match &order.expr {
                Expr::Identifier(ident) if names.contains(&D::compared(ident)) => name::<D>(ident),
                expression => self.expression(expression),
            }
        })
    }

    fn joined(&mut self, table: &TableWithJoins) -> Result<(), Refusal> {
        self.table(&table.relation)?;
        table.joins.iter().try_for_each(|join| self.join(join))
    }

    fn join(&mut self, join: &Join) -> Result<(), Refusal> {
        none(!join.global, "GLOBAL JOIN")?;
        self.table(&join.relation)?;
        match &join.join_operator {
            JoinOperator::Join(on)
            | JoinOperator::Inner(on)
            | JoinOperator::Left(on)
            | JoinOperator::LeftOuter(on)
            | JoinOperator::Right(on)
            | JoinOperator::RightOuter(on)
            | JoinOperator::FullOuter(on)
            | JoinOperator::CrossJoin(on) => match on {
                JoinConstraint::On(condition) => self.expression(condition),
                JoinConstraint::None => Ok(()),
                _ => construct("this form of JOIN"),
            },
            JoinOperator::CrossApply | JoinOperator::OuterApply => Ok(()),
            _ => construct("this form of JOIN"),
        }
    }

    fn table(&mut self, table: &TableFactor) -> Result<(), Refusal> {
        match table {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if args.is_some() {
                    return Err(Refusal::Function(name.to_string()));
                }
                none(
                    version.is_none()
                        && !with_ordinality
                        && partitions.is_empty()
                        && json_path.is_none()
                        && sample.is_none()
                        && index_hints.is_empty(),
                    "this form of a table",
                )?;
                if let Some(alias) = alias {
                    self.alias(alias)?;
                    none(
                        D::TABLES_RENAME_COLUMNS || alias.columns.is_empty(),
                        "a list in parentheses behind the name of a table, which the server takes for table hints,",
                    )?;
                }
                for hint in with_hints {
                    self.dirty_reads |= D::table_hint(hint)?;
                }
                self.granted(name)
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                alias.iter().try_for_each(|alias| self.alias(alias))?;
                self.deeper(|walk| walk.subquery(subquery))
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                none(alias.is_none(), "an alias of a join")?;
                self.deeper(|walk| walk.joined(table_with_joins))
            }
            TableFactor::Function { name, .. } => Err(Refusal::Function(name.to_string())),
            _ => construct("this form of a table"),
        }
    }

    fn alias(&self, alias: &TableAlias) -> Result<(), Refusal> {
        none(alias.at.is_none() && alias.columns.iter().all(|c| c.data_type.is_none()), "this form of an alias")?;
        new_name::<D>(&alias.name)?;
        alias.columns.iter().try_for_each(|column| new_name::<D>(&column.name))
    }

    /// Resolves a table name: a common table expression, a listed catalog view, or a granted table.
    fn granted(&mut self, table: &ObjectName) -> Result<(), Refusal> {
        let parts: Option<Vec<&Ident>> = table.0.iter().map(|part| part.as_ident()).collect();
        parts.iter().flatten().try_for_each(|part| name::<D>(part))?;
        if let Some(name) = parts.as_deref().and_then(<[_]>::last) {
            none(!D::is_temporary(name), "a temporary table")?;
        }
        match parts.as_deref() {
            Some([one]) if self.common.contains(&D::compared(one)) => Ok(()),
            Some([one]) if self.recursive.as_ref() == Some(&D::compared(one)) => Ok(()),
            Some([schema, name]) if !schema.value.is_empty() && !name.value.is_empty() => {
                let (schema, name) = (D::compared(schema), D::compared(name));
                if D::catalog_columns(&schema, &name).is_some() {
                    self.catalog_views.push(TableId::new(schema, name));
                    return Ok(());
                }
                self.granted_table(TableId::new(schema, name))
            }
            Some([catalog, schema, name])
                if D::HAS_CATALOGS
                    && self.profile == Profile::OperatorFile
                    && [catalog, schema, name].iter().all(|part| !part.value.is_empty()) =>
            {
                let table = TableId::new(D::compared(schema), D::compared(name));
                self.granted_table(table.in_catalog(D::compared(catalog)))
            }
            _ => Err(Refusal::NameParts(table.to_string())),
        }
    }

    fn granted_table(&mut self, table: TableId) -> Result<(), Refusal> {
        if !D::is_granted(self.grant, &table) {
            return Err(Refusal::NotGranted(table.to_string()));
        }
        self.tables.push(table);
        Ok(())
    }
}

/// The names that a SELECT gives to its columns: a bare name in its ORDER BY means one of these before any other.
fn result_names<D: Dialect>(body: &SetExpr) -> Vec<String> {
    let SetExpr::Select(select) = body else { return Vec::new() };
    let named = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(D::compared(alias)),
        _ => None,
    };
    select.projection.iter().filter_map(named).collect()
}

/// A name that something gets. `SELECT @P1 = x` assigns; it reads as an alias.
fn new_name<D: Dialect>(ident: &Ident) -> Result<(), Refusal> {
    none(ident.quote_style.is_some() || !ident.value.starts_with('@'), "an assignment to a variable")?;
    name::<D>(ident)
}

/// Any name. A bare reserved word is none: the parser took for one what is structure to the server.
pub(super) fn name<D: Dialect>(ident: &Ident) -> Result<(), Refusal> {
    if ident.quote_style.is_none() && D::is_structure_word(&ident.value) {
        return construct(format!("the reserved word {} as a name", ident.value.to_ascii_uppercase()));
    }
    Ok(())
}

fn plain_wildcard(options: &WildcardAdditionalOptions) -> Result<(), Refusal> {
    none(
        options.opt_ilike.is_none()
            && options.opt_exclude.is_none()
            && options.opt_except.is_none()
            && options.opt_replace.is_none()
            && options.opt_rename.is_none()
            && options.opt_alias.is_none(),
        "this form of *",
    )
}
