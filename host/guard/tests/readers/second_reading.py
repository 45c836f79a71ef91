"""Reads SQL with parsers that are not ours: PostgreSQL's own (pglast, which is made of the server's source) and sqlglot's for T-SQL.

Input: a JSON document a line, {"dialect": "postgres" or "tsql", "sql": text}. Output: a JSON document a line with what the text
names, or {"error": reason} where the reader does not understand it:

    tables      [schema, name] of each table that is written with its schema, as the server compares it
    bare        names of tables written without a schema that no common table expression in reach has
    functions   names of functions, in lower case
    odd         whatever makes it more than one query that reads
"""

import json
import sys

# What a query that only reads is made of. Anything else is odd.
POSTGRES_NODES = set(
    """RawStmt SelectStmt ResTarget ColumnRef String A_Star A_Const RangeVar RangeSubselect JoinExpr A_Expr BoolExpr NullTest
    BooleanTest SubLink CaseExpr CaseWhen TypeCast FuncCall CoalesceExpr MinMaxExpr SortBy List CommonTableExpr CollateClause
    ParamRef RowExpr Integer""".split()
)
# Functions that the parser makes of syntax, by the names it gives them.
POSTGRES_SYNTAX = {"btrim", "ltrim", "rtrim", "timezone", "substring", "like_escape"}


def read_postgres(sql):
    from pglast.parser import parse_sql_json

    reading = {"tables": [], "bare": [], "functions": [], "odd": []}
    statements = json.loads(parse_sql_json(sql)).get("stmts", [])
    if len(statements) != 1:
        reading["odd"].append(f"{len(statements)} statements")

    def walk(node, names):
        if isinstance(node, list):
            for entry in node:
                walk(entry, names)
        elif isinstance(node, dict):
            for key, value in node.items():
                if key[:1].isupper():
                    visit(key, value, names)
                else:
                    walk(value, names)

    def select(node, names):
        if node.get("intoClause") or node.get("lockingClause") or node.get("windowClause"):
            reading["odd"].append("SELECT with INTO, FOR or WINDOW")
        with_clause = node.get("withClause", {})
        if with_clause.get("recursive"):
            reading["odd"].append("RECURSIVE")
        for table in with_clause.get("ctes", []):
            table = table["CommonTableExpr"]
            walk(table.get("ctequery"), names)
            names = names | {table["ctename"]}
        for key, value in node.items():
            if key in ("larg", "rarg"):
                select(value, names)
            elif key != "withClause":
                walk(value, names)

    def visit(kind, node, names):
        if kind not in POSTGRES_NODES:
            reading["odd"].append(kind)
        if kind == "SelectStmt":
            return select(node, names)
        if kind == "RangeVar":
            if node.get("catalogname") or not node.get("inh"):
                reading["odd"].append("a table of another database, or ONLY")
            elif "schemaname" in node:
                reading["tables"].append([node["schemaname"], node["relname"]])
            elif node["relname"] not in names:
                reading["bare"].append(node["relname"])
        if kind == "FuncCall":
            parts = [part["String"]["sval"] for part in node["funcname"]]
            # The guard refuses a function that is written with its schema: such a name comes from syntax.
            if len(parts) == 1 or (parts[0] == "pg_catalog" and parts[-1] in POSTGRES_SYNTAX):
                reading["functions"].append(parts[-1])
            else:
                reading["odd"].append(".".join(parts))
            if parts[-1] == "substring":
                for argument in node.get("args", [])[1:]:
                    if "sval" in argument.get("A_Const", {}) or "ColumnRef" in argument:
                        reading["odd"].append("a substring by a pattern")
        if kind == "TypeCast":
            names_of_type = [part["String"]["sval"] for part in node["typeName"]["names"]]
            if len(names_of_type) > 1 and names_of_type[0] != "pg_catalog":
                reading["odd"].append(".".join(names_of_type))
        walk(node, names)

    walk(statements, frozenset())
    return reading


TSQL_ODD = "SYSTEM_USER SESSION_USER CURRENT_USER USER".split()


def read_tsql(sql):
    import sqlglot
    from sqlglot import exp

    reading = {"tables": [], "bare": [], "functions": [], "odd": []}
    statements = [statement for statement in sqlglot.parse(sql, read="tsql") if statement is not None]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        reading["odd"].append(f"{len(statements)} statements, or no query")
    for statement in statements:
        for node in statement.find_all(exp.Into, exp.Lock, exp.DML, exp.Command, exp.Pivot, exp.TableSample, exp.Parameter):
            if not (isinstance(node, exp.Parameter) and node.name.lower().startswith("p")):
                reading["odd"].append(type(node).__name__)
        for column in statement.find_all(exp.Column):
            if not column.table and not column.this.args.get("quoted") and column.name.upper() in TSQL_ODD:
                reading["odd"].append(column.name)
        for function in statement.find_all(exp.Anonymous):
            reading["functions"].append(function.name.lower())
        for dot in statement.find_all(exp.Dot):
            reading["odd"].append(dot.sql())
        for hint in statement.find_all(exp.WithTableHint):
            reading["functions"].extend(f"hint {name.name.lower()}" for name in hint.expressions)
        for table in statement.find_all(exp.Table):
            if not isinstance(table.this, exp.Identifier):
                reading["odd"].append(table.sql())
            elif table.catalog:
                reading["odd"].append(table.sql())
            elif table.db:
                reading["tables"].append([table.db, table.name])
            elif not in_reach(table, exp):
                reading["bare"].append(table.name)
    return reading


def in_reach(table, exp):
    """Whether a common table expression goes by the table's name: one written before it, or its own in a recursive member."""
    node, child = table.parent, table
    while node is not None:
        with_clause = node.args.get("with") or node.args.get("with_")
        if isinstance(with_clause, exp.With) and with_clause is not child:
            if any(cte.alias == table.name for cte in with_clause.expressions):
                return True
        if isinstance(node, exp.With):
            for cte in node.expressions:
                if cte is child:
                    break
                if cte.alias == table.name:
                    return True
        if isinstance(node, exp.CTE) and node.alias == table.name:
            # Its own name: the member of a UNION ALL that is not the first, with the name in its own FROM.
            member = table.parent.parent
            joined = table.parent
            if isinstance(joined, exp.Join):
                member = joined.parent
            union = member.parent if isinstance(member, exp.Select) else None
            top = union is not None
            while isinstance(union, exp.Union) and not union.args.get("distinct"):
                if union.expression is member:
                    first_differs = True
                    outer = union.parent
                    while isinstance(outer, exp.SetOperation):
                        if not isinstance(outer, exp.Union) or outer.args.get("distinct"):
                            first_differs = False
                        outer = outer.parent
                    return top and first_differs and outer is node
                member, union = union, union.parent
        node, child = node.parent, node
    return False


def main():
    import logging

    logging.disable(logging.CRITICAL)
    readers = {"postgres": read_postgres, "tsql": read_tsql}
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = readers[question["dialect"]](question["sql"])
        except Exception as error:  # Whatever a parser raises: it did not understand the text.
            answer = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
