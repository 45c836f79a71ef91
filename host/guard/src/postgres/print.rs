//! A query that passed, written again with everything it calls in `pg_catalog`.
//!
//! A query of tables runs with the role's own `search_path`, since functions that views call may depend on it. There a function,
//! operator or type of a person may fit better than the system's own (CVE-2018-1058). So names are qualified: functions and
//! types by their schema, operators as `OPERATOR(pg_catalog.=)`. That form has one precedence, whatever the operator, hence
//! parentheses around each operation. What has an operator that cannot be named (IN, BETWEEN, NULLIF, …) is written as what it
//! stands for.
//!
//! What the walk lets pass and this does not know is refused.

use sqlparser::ast::{
    BinaryOperator, CastKind, Distinct, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Ident, JoinConstraint, JoinOperator, LimitClause, ObjectName, OrderByExpr,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier,
    TableAlias, TableFactor, TableWithJoins, UnaryOperator, Value, WindowFrame, WindowFrameBound, WindowSpec,
    WindowType,
};

use super::lists;
use crate::{Refusal, construct};

/// How much longer than `max_sql_bytes` the text may get: operands that are written twice, in each other, grow without bound.
const MAX_GROWTH: u64 = 16;

/// The query as it is sent. `literals` stand in for its parameters.
///
/// # Errors
/// A construct that is not known here, or a text that gets too long.
pub(super) fn qualified(query: &Query, literals: &[String], max_sql_bytes: u64) -> Result<String, Refusal> {
    let mut printer = Printer { text: String::new(), literals, max_bytes: max_sql_bytes.saturating_mul(MAX_GROWTH) };
    printer.query(query)?;
    Ok(printer.text)
}

struct Printer<'a> {
    text: String,
    literals: &'a [String],
    max_bytes: u64,
}

type Printed = Result<(), Refusal>;

impl Printer<'_> {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Items with commas between.
    fn list<T>(&mut self, items: &[T], item: impl Fn(&mut Self, &T) -> Printed) -> Printed {
        for (i, one) in items.iter().enumerate() {
            if i > 0 {
                self.push(", ");
            }
            item(self, one)?;
        }
        Ok(())
    }

    fn ident(&mut self, ident: &Ident) {
        match ident.quote_style {
            Some(_) => {
                self.push("\"");
                self.push(&ident.value.replace('"', "\"\""));
                self.push("\"");
            }
            None => self.push(&ident.value),
        }
    }

    fn idents(&mut self, parts: &[Ident]) {
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                self.push(".");
            }
            self.ident(part);
        }
    }

    fn object(&mut self, name: &ObjectName) -> Printed {
        let parts: Option<Vec<Ident>> = name.0.iter().map(|part| part.as_ident().cloned()).collect();
        match parts {
            Some(parts) => self.idents(&parts),
            None => return construct("this form of a name"),
        }
        Ok(())
    }

    fn query(&mut self, query: &Query) -> Printed {
        if let Some(with) = &query.with {
            self.push("WITH ");
            self.list(&with.cte_tables, |printer, table| {
                printer.alias(&table.alias);
                printer.push(" AS (");
                printer.query(&table.query)?;
                printer.push(")");
                Ok(())
            })?;
            self.push(" ");
        }
        self.body(&query.body)?;
        if let Some(order_by) = &query.order_by {
            let OrderByKind::Expressions(list) = &order_by.kind else { return construct("ORDER BY ALL") };
            self.order_by(list)?;
        }
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                if let Some(limit) = limit {
                    self.push(" LIMIT ");
                    self.expression(limit)?;
                }
                if let Some(offset) = offset {
                    self.push(" OFFSET ");
                    self.expression(&offset.value)?;
                }
            }
            Some(_) => return construct("LIMIT"),
        }
        if let Some(fetch) = &query.fetch {
            if fetch.percent {
                return construct("this form of FETCH");
            }
            self.push(" FETCH FIRST ");
            if let Some(quantity) = &fetch.quantity {
                self.push("(");
                self.expression(quantity)?;
                self.push(") ");
            }
            self.push(if fetch.with_ties { "ROWS WITH TIES" } else { "ROWS ONLY" });
        }
        Ok(())
    }

    /// A chain of set operations leans to the left.
    fn body(&mut self, body: &SetExpr) -> Printed {
        let mut chain = Vec::new();
        let mut first = body;
        while let SetExpr::SetOperation { op, set_quantifier, left, right } = first {
            chain.push((op, set_quantifier, right));
            first = left;
        }
        self.push(&"(".repeat(chain.len().saturating_sub(1)));
        self.operand(first)?;
        let last = chain.len();
        for (i, (op, quantifier, right)) in chain.into_iter().rev().enumerate() {
            self.push(match op {
                SetOperator::Union => " UNION ",
                SetOperator::Except => " EXCEPT ",
                SetOperator::Intersect => " INTERSECT ",
                SetOperator::Minus => return construct("MINUS"),
            });
            self.push(match quantifier {
                SetQuantifier::All => "ALL ",
                SetQuantifier::Distinct | SetQuantifier::None => "",
                _ => return construct("this form of a set operation"),
            });
            self.operand(right)?;
            if i + 1 < last {
                self.push(")");
            }
        }
        Ok(())
    }

    fn operand(&mut self, body: &SetExpr) -> Printed {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Values(values) => {
                self.push("VALUES ");
                self.list(&values.rows, |printer, row| {
                    printer.push("(");
                    printer.list(&row.content, Self::expression)?;
                    printer.push(")");
                    Ok(())
                })
            }
            SetExpr::Query(query) => self.parenthesised(query),
            SetExpr::SetOperation { .. } => {
                self.push("(");
                self.body(body)?;
                self.push(")");
                Ok(())
            }
            _ => construct("this form of a query"),
        }
    }

    fn parenthesised(&mut self, query: &Query) -> Printed {
        self.push("(");
        self.query(query)?;
        self.push(")");
        Ok(())
    }

    fn select(&mut self, select: &Select) -> Printed {
        if select.top.is_some() {
            return construct("TOP");
        }
        self.push("SELECT ");
        match &select.distinct {
            None | Some(Distinct::All) => {}
            Some(Distinct::Distinct) => self.push("DISTINCT "),
            Some(_) => return construct("DISTINCT ON"),
        }
        self.list(&select.projection, Self::item)?;
        if !select.from.is_empty() {
            self.push(" FROM ");
            self.list(&select.from, Self::joined)?;
        }
        if let Some(condition) = &select.selection {
            self.push(" WHERE ");
            self.expression(condition)?;
        }
        match &select.group_by {
            GroupByExpr::Expressions(list, _) if list.is_empty() => {}
            GroupByExpr::Expressions(list, _) => {
                self.push(" GROUP BY ");
                self.list(list, Self::expression)?;
            }
            GroupByExpr::All(_) => return construct("GROUP BY ALL"),
        }
        if let Some(condition) = &select.having {
            self.push(" HAVING ");
            self.expression(condition)?;
        }
        Ok(())
    }

    fn item(&mut self, item: &SelectItem) -> Printed {
        match item {
            SelectItem::UnnamedExpr(expression) => {
                self.expression(expression)?;
                if is_named_nullif(expression) {
                    self.push(" AS \"nullif\"");
                }
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                self.expression(expr)?;
                self.push(" AS ");
                self.ident(alias);
            }
            SelectItem::Wildcard(_) => self.push("*"),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                self.object(name)?;
                self.push(".*");
            }
            _ => return construct("this form of a column"),
        }
        Ok(())
    }

    fn joined(&mut self, table: &TableWithJoins) -> Printed {
        self.table(&table.relation)?;
        for join in &table.joins {
            let (words, constraint) = match &join.join_operator {
                JoinOperator::Join(on) | JoinOperator::Inner(on) => (" INNER JOIN ", on),
                JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (" LEFT JOIN ", on),
                JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (" RIGHT JOIN ", on),
                JoinOperator::FullOuter(on) => (" FULL JOIN ", on),
                JoinOperator::CrossJoin(on) => (" CROSS JOIN ", on),
                _ => return construct("this form of JOIN"),
            };
            self.push(words);
            self.table(&join.relation)?;
            match constraint {
                JoinConstraint::None => {}
                JoinConstraint::On(condition) => {
                    self.push(" ON ");
                    self.expression(condition)?;
                }
                _ => return construct("this form of JOIN"),
            }
        }
        Ok(())
    }

    fn table(&mut self, table: &TableFactor) -> Printed {
        let alias = match table {
            TableFactor::Table { name, alias, .. } => {
                self.object(name)?;
                alias
            }
            TableFactor::Derived { lateral: false, subquery, alias, .. } => {
                self.parenthesised(subquery)?;
                alias
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.push("(");
                self.joined(table_with_joins)?;
                self.push(")");
                alias
            }
            _ => return construct("this form of a table"),
        };
        if let Some(alias) = alias {
            self.push(" AS ");
            self.alias(alias);
        }
        Ok(())
    }

    fn alias(&mut self, alias: &TableAlias) {
        self.ident(&alias.name);
        for (i, column) in alias.columns.iter().enumerate() {
            self.push(if i == 0 { " (" } else { ", " });
            self.ident(&column.name);
        }
        if !alias.columns.is_empty() {
            self.push(")");
        }
    }

    fn order_by(&mut self, list: &[OrderByExpr]) -> Printed {
        self.push(" ORDER BY ");
        self.list(list, |printer, order| {
            printer.expression(&order.expr)?;
            printer.push(match order.options.asc {
                Some(false) => " DESC",
                _ => "",
            });
            match order.options.nulls_first {
                None => Ok(()),
                Some(_) => construct("this form of ORDER BY"),
            }
        })
    }

    /// An expression that stands for itself wherever it is put.
    fn expression(&mut self, expression: &Expr) -> Printed {
        if self.text.len() as u64 > self.max_bytes {
            return Err(Refusal::Limit {
                what: "a text, its names qualified,",
                value: self.text.len() as u64,
                limit_name: "max_sql_bytes",
                limit: self.max_bytes / MAX_GROWTH,
            });
        }
        match expression {
            Expr::Identifier(ident) => self.ident(ident),
            Expr::CompoundIdentifier(parts) => self.idents(parts),
            Expr::Value(value) => return self.literal(&value.value),
            Expr::Nested(inner) => return self.expression(inner),
            Expr::BinaryOp { .. } => return self.chain(expression),
            Expr::UnaryOp { op, expr } => return self.unary(*op, expr),
            Expr::IsNull(inner) => return self.suffixed(inner, " IS NULL"),
            Expr::IsNotNull(inner) => return self.suffixed(inner, " IS NOT NULL"),
            Expr::IsTrue(inner) => return self.suffixed(inner, " IS TRUE"),
            Expr::IsNotTrue(inner) => return self.suffixed(inner, " IS NOT TRUE"),
            Expr::IsFalse(inner) => return self.suffixed(inner, " IS FALSE"),
            Expr::IsNotFalse(inner) => return self.suffixed(inner, " IS NOT FALSE"),
            Expr::IsDistinctFrom(a, b) => {
                self.push("(NOT ");
                self.same(a, b)?;
                self.push(")");
            }
            Expr::IsNotDistinctFrom(a, b) => {
                self.push("(");
                self.same(a, b)?;
                self.push(" IS TRUE)");
            }
            Expr::Between { expr, negated, low, high } => {
                self.negated(*negated);
                self.push("(");
                self.operation(expr, ">=", low)?;
                self.push(" AND ");
                self.operation(expr, "<=", high)?;
                self.push("))");
            }
            Expr::InList { expr, list, negated } => {
                self.negated(*negated);
                self.push("(");
                for (i, value) in list.iter().enumerate() {
                    if i > 0 {
                        self.push(" OR ");
                    }
                    self.operation(expr, "=", value)?;
                }
                self.push("))");
            }
            Expr::InSubquery { expr, subquery, negated } => {
                self.negated(*negated);
                self.expression(expr)?;
                self.push(" OPERATOR(pg_catalog.=) ANY ");
                self.parenthesised(subquery)?;
                self.push(")");
            }
            Expr::Like { any: false, expr, pattern, negated, escape_char } => {
                self.push("(");
                self.expression(expr)?;
                self.operator(if *negated { "!~~" } else { "~~" });
                match escape_char {
                    None => self.expression(pattern)?,
                    Some(escape) => {
                        self.push("pg_catalog.like_escape(");
                        self.expression(pattern)?;
                        self.push(", ");
                        self.literal(&escape.value)?;
                        self.push(")");
                    }
                }
                self.push(")");
            }
            Expr::AnyOp { left, compare_op, right, .. } => return self.quantified(left, compare_op, " ANY ", right),
            Expr::AllOp { left, compare_op, right } => return self.quantified(left, compare_op, " ALL ", right),
            Expr::Exists { subquery, negated } => {
                self.negated(*negated);
                self.push("EXISTS ");
                self.parenthesised(subquery)?;
                self.push(")");
            }
            Expr::Subquery(query) => return self.parenthesised(query),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.push("CASE");
                for when in conditions {
                    self.push(" WHEN ");
                    match operand {
                        Some(operand) => self.operation(operand, "=", &when.condition)?,
                        None => self.expression(&when.condition)?,
                    }
                    self.push(" THEN ");
                    self.expression(&when.result)?;
                }
                if let Some(result) = else_result {
                    self.push(" ELSE ");
                    self.expression(result)?;
                }
                self.push(" END");
            }
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
                self.push("CAST(");
                self.expression(expr)?;
                self.push(" AS ");
                self.push(&lists::qualified_type(&data_type.to_string()));
                self.push(")");
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                self.push("(");
                self.expression(timestamp)?;
                self.push(" AT TIME ZONE ");
                self.expression(time_zone)?;
                self.push(")");
            }
            Expr::Collate { expr, collation } => {
                self.push("(");
                self.expression(expr)?;
                self.push(" COLLATE pg_catalog.");
                self.object(collation)?;
                self.push(")");
            }
            Expr::Ceil { expr, .. } => return self.call("ceil", &[&**expr]),
            Expr::Floor { expr, .. } => return self.call("floor", &[&**expr]),
            Expr::Substring { expr, substring_from, substring_for, special: true, .. } => {
                let more = [substring_from, substring_for].into_iter().flatten().map(|part| &**part);
                let arguments: Vec<&Expr> = std::iter::once(&**expr).chain(more).collect();
                return self.call("substring", &arguments);
            }
            Expr::Substring { expr, substring_from, substring_for, special: false, .. } => {
                self.push("SUBSTRING(");
                self.expression(expr)?;
                for (word, part) in [(" FROM ", substring_from), (" FOR ", substring_for)] {
                    if let Some(part) = part {
                        self.push(word);
                        self.expression(part)?;
                    }
                }
                self.push(")");
            }
            Expr::Trim { trim_what, expr, .. } => {
                self.push("TRIM(");
                if let Some(what) = trim_what {
                    self.expression(what)?;
                    self.push(" FROM ");
                }
                self.expression(expr)?;
                self.push(")");
            }
            Expr::Function(function) => return self.function(function),
            _ => return construct("this expression"),
        }
        Ok(())
    }

    /// Opens a parenthesis before what may be negated.
    fn negated(&mut self, negated: bool) {
        self.push(if negated { "(NOT " } else { "(" });
    }

    fn suffixed(&mut self, inner: &Expr, suffix: &str) -> Printed {
        self.push("(");
        self.expression(inner)?;
        self.push(suffix);
        self.push(")");
        Ok(())
    }

    fn operator(&mut self, name: &str) {
        self.push(" OPERATOR(pg_catalog.");
        self.push(name);
        self.push(") ");
    }

    fn operation(&mut self, left: &Expr, operator: &str, right: &Expr) -> Printed {
        self.push("(");
        self.expression(left)?;
        self.operator(operator);
        self.expression(right)?;
        self.push(")");
        Ok(())
    }

    /// Whether both are the same, or both null.
    fn same(&mut self, a: &Expr, b: &Expr) -> Printed {
        // The parser reads `a IS DISTINCT FROM b AND c` as `a IS DISTINCT FROM (b AND c)`, PostgreSQL as `(a IS DISTINCT FROM b) AND c`.
        if matches!(b, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. }) {
            return construct("IS DISTINCT FROM before AND or OR without parentheses around it");
        }
        self.push("coalesce(");
        self.operation(a, "=", b)?;
        self.push(", ");
        self.suffixed(a, " IS NULL")?;
        self.push(" AND ");
        self.suffixed(b, " IS NULL")?;
        self.push(")");
        Ok(())
    }

    /// A chain of operators leans to the left.
    fn chain(&mut self, expression: &Expr) -> Printed {
        let mut chain = Vec::new();
        let mut first = expression;
        while let Expr::BinaryOp { left, op, right } = first {
            chain.push((op, right));
            first = left;
        }
        self.push(&"(".repeat(chain.len()));
        self.expression(first)?;
        for (op, right) in chain.into_iter().rev() {
            match op {
                BinaryOperator::And => self.push(" AND "),
                BinaryOperator::Or => self.push(" OR "),
                op => self.operator(symbol(op)?),
            }
            self.expression(right)?;
            self.push(")");
        }
        Ok(())
    }

    /// The server makes a negative constant of a number with a sign, and of nothing else.
    fn unary(&mut self, op: UnaryOperator, inner: &Expr) -> Printed {
        let mut inner = inner;
        while let Expr::Nested(nested) = inner {
            inner = nested;
        }
        let is_number = matches!(inner, Expr::Value(value) if matches!(value.value, Value::Number(..)));
        self.push(match op {
            UnaryOperator::Not => "(NOT ",
            UnaryOperator::Minus if is_number => "(-",
            UnaryOperator::Plus if is_number => "(+",
            UnaryOperator::Minus => "(OPERATOR(pg_catalog.-) ",
            UnaryOperator::Plus => "(OPERATOR(pg_catalog.+) ",
            _ => return construct("this operator"),
        });
        self.expression(inner)?;
        self.push(")");
        Ok(())
    }

    fn quantified(&mut self, left: &Expr, op: &BinaryOperator, word: &str, right: &Expr) -> Printed {
        self.push("(");
        self.expression(left)?;
        self.operator(symbol(op)?);
        self.push(word);
        let mut right = right;
        while let Expr::Nested(inner) = right {
            right = inner;
        }
        match right {
            Expr::Subquery(query) => self.parenthesised(query)?,
            array => {
                self.push("(");
                self.expression(array)?;
                self.push(")");
            }
        }
        self.push(")");
        Ok(())
    }

    fn literal(&mut self, value: &Value) -> Printed {
        match value {
            Value::Number(digits, false) => self.push(digits),
            Value::SingleQuotedString(text) => {
                self.push("'");
                self.push(&text.replace('\'', "''"));
                self.push("'");
            }
            Value::Boolean(value) => self.push(if *value { "TRUE" } else { "FALSE" }),
            Value::Null => self.push("NULL"),
            Value::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                let literals = self.literals;
                match number.and_then(|number| literals.get(number.checked_sub(1)?)) {
                    Some(literal) => self.push(literal),
                    None => return construct(format!("the parameter {name}")),
                }
            }
            _ => return construct("this form of a literal"),
        }
        Ok(())
    }

    fn call(&mut self, name: &str, arguments: &[&Expr]) -> Printed {
        self.push("pg_catalog.");
        self.push(name);
        self.push("(");
        self.list(arguments, |printer, argument| printer.expression(argument))?;
        self.push(")");
        Ok(())
    }

    fn function(&mut self, function: &Function) -> Printed {
        let FunctionArguments::List(list) = &function.args else { return construct("this form of a function call") };
        if function.null_treatment.is_some() {
            return construct("this form of a function call");
        }
        if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(a)), FunctionArg::Unnamed(FunctionArgExpr::Expr(b))] =
            list.args.as_slice()
            && is_nullif(function)
        {
            self.push("CASE WHEN ");
            self.operation(a, "=", b)?;
            self.push(" THEN NULL ELSE ");
            self.expression(a)?;
            self.push(" END");
            return Ok(());
        }
        // The others are syntax: they cannot be anybody's.
        let name = function.name.to_string().to_ascii_lowercase();
        if !lists::is_function_of_the_grammar(&name) {
            self.push("pg_catalog.");
        }
        self.push(&name);
        self.push("(");
        self.push(match list.duplicate_treatment {
            Some(DuplicateTreatment::Distinct) => "DISTINCT ",
            Some(DuplicateTreatment::All) | None => "",
        });
        self.list(&list.args, |printer, argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => printer.expression(expression),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {
                printer.push("*");
                Ok(())
            }
            _ => construct("this form of an argument"),
        })?;
        self.push(")");
        if !function.within_group.is_empty() {
            self.push(" WITHIN GROUP (");
            self.order_by(&function.within_group)?;
            self.push(")");
        }
        match &function.over {
            None => Ok(()),
            Some(WindowType::WindowSpec(window)) => self.window(window),
            Some(WindowType::NamedWindow(_)) => construct("a named window"),
        }
    }

    fn window(&mut self, window: &WindowSpec) -> Printed {
        self.push(" OVER (");
        if !window.partition_by.is_empty() {
            self.push("PARTITION BY ");
            self.list(&window.partition_by, Self::expression)?;
        }
        if !window.order_by.is_empty() {
            self.order_by(&window.order_by)?;
        }
        if let Some(frame) = &window.window_frame {
            self.frame(frame)?;
        }
        self.push(")");
        Ok(())
    }

    fn frame(&mut self, frame: &WindowFrame) -> Printed {
        self.push(&format!(" {} ", frame.units));
        match &frame.end_bound {
            None => self.bound(&frame.start_bound),
            Some(end) => {
                self.push("BETWEEN ");
                self.bound(&frame.start_bound)?;
                self.push(" AND ");
                self.bound(end)
            }
        }
    }

    fn bound(&mut self, bound: &WindowFrameBound) -> Printed {
        let (rows, word) = match bound {
            WindowFrameBound::CurrentRow => {
                self.push("CURRENT ROW");
                return Ok(());
            }
            WindowFrameBound::Preceding(rows) => (rows, " PRECEDING"),
            WindowFrameBound::Following(rows) => (rows, " FOLLOWING"),
        };
        match rows {
            None => self.push("UNBOUNDED"),
            Some(rows) => self.expression(rows)?,
        }
        self.push(word);
        Ok(())
    }
}

fn symbol(op: &BinaryOperator) -> Result<&'static str, Refusal> {
    use BinaryOperator as Op;
    Ok(match op {
        Op::Plus => "+",
        Op::Minus => "-",
        Op::Multiply => "*",
        Op::Divide => "/",
        Op::Modulo => "%",
        Op::Gt => ">",
        Op::Lt => "<",
        Op::GtEq => ">=",
        Op::LtEq => "<=",
        Op::Eq => "=",
        Op::NotEq => "<>",
        Op::StringConcat => "||",
        _ => return construct("this operator"),
    })
}

fn is_nullif(function: &Function) -> bool {
    function.name.to_string().eq_ignore_ascii_case("nullif")
}

/// Whether the server would name the column `nullif`, by its rules for columns without a name (`FigureColname`).
fn is_named_nullif(expression: &Expr) -> bool {
    let mut expression = expression;
    loop {
        expression = match expression {
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } | Expr::Collate { expr: inner, .. } => inner,
            Expr::Case { else_result: Some(result), .. } => result,
            Expr::Function(function) => return is_nullif(function),
            _ => return false,
        };
    }
}
