// Reads the one table that the operator names: a datakit in JavaScript, from wit/ alone.

import { emit } from "datakit:kit/log@0.2.0";
import { Description, TableDescription, TablePlan } from "datakit:kit/plans@0.2.0";
import { ProjectionBuilder } from "datakit:kit/projections@0.2.0";
import * as run from "datakit:kit/run@0.2.0";
import { Connection, Query } from "datakit:kit/sql@0.2.0";

const LOAD_ID = "_load_id";
const ROW_HASH = "_row_hash";

// The host checks the operator's settings against it before any other call.
const SETTINGS = {
  type: "object",
  properties: {
    table: { type: "string", pattern: "^[^.]+\\.[^.]+$", description: "The table: schema.name." },
    key: { type: "string", description: "The column that identifies a row." },
    where: { type: "string", description: "Rows to keep: an expression of docs/expressions.md." },
    raises: { type: "string", description: "For tests: an exception of this text that nothing catches." },
  },
  required: ["table", "key"],
  additionalProperties: false,
};

const settings = () => JSON.parse(run.settings());

/** What a function throws instead of returning. */
function failure(kind, number, message, context) {
  const code = `ONE-TABLE-JAVASCRIPT-${String(number).padStart(3, "0")}`;
  return { kind, code, retry: "never", message, context: Object.entries(context) };
}

/**
 * A function whose exceptions reach the operator with their text: what is thrown by a function with a result is taken for the
 * record `error`, and an exception that is none loses its message on the way.
 */
const told = (run) => (...given) => {
  try {
    return run(...given);
  } catch (thrown) {
    if (!(thrown instanceof Error)) throw thrown;
    throw failure("datakit", 900, thrown.message, { stack: thrown.stack });
  }
};

/** Whether a name is one of a pattern with `*` and `?`. */
function matches(name, pattern) {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`, "s").test(name);
}

const quoted = (table) => [table.schema, table.name].map((name) => `[${name.replaceAll("]", "]]")}]`).join(".");

function ask(connection, select, table) {
  const query = new Query(`SELECT ${select} FROM ${quoted(table)}`);
  query.setIsolation("read-committed");
  return connection.execute(query);
}

function planOf(table) {
  const plan = new TablePlan(table);
  plan.addPartition(new TextEncoder().encode(JSON.stringify({ where: settings().where ?? null })), undefined);
  plan.setWrite("append");
  plan.setKeys([settings().key]);
  plan.setStrategy("full");
  plan.setLoadIdColumn(LOAD_ID);
  return plan;
}

class Extraction {
  constructor(connection, reader, projection) {
    Object.assign(this, { connection, reader, projection });
  }

  static open(partition) {
    const connection = Connection.open("source");
    const reader = ask(connection, "*", partition.table());
    const names = reader.schema().map((column) => column.name);
    const builder = new ProjectionBuilder(reader.schema());
    for (const name of names) builder.addInput(name, name);
    builder.addLoadId(LOAD_ID);
    builder.addRowHash(ROW_HASH, names);
    const { where } = JSON.parse(new TextDecoder().decode(partition.state()));
    if (where !== null) builder.setFilter(where);
    return new Extraction(connection, reader, builder.compile());
  }

  output() {
    return this.projection.output();
  }

  next() {
    const batch = this.reader.next();
    if (batch === undefined) return undefined;
    // Not left to the garbage collector: the host limits how many handles there are.
    const shaped = this.projection.apply(batch);
    batch[Symbol.dispose]();
    return shaped;
  }

  watermark() {
    return undefined;
  }
}

export const extractor = {
  Extraction,

  describe() {
    const description = new Description("one-table-javascript", "0.1.0", "Reads one table.");
    description.addRole("source", ["sqlserver"], "The database of the table.");
    description.setSettingsSchema(JSON.stringify(SETTINGS));
    return description;
  },

  discover: told((request) => {
    const { table: name, key, raises } = settings();
    if (raises !== undefined) throw new Error(raises);
    const selected = (patterns) => patterns.some((pattern) => matches(name, pattern));
    const include = request.include();
    if ((include.length > 0 && !selected(include)) || selected(request.exclude())) {
      emit("info", "the operator does not select the table", [["table", name]]);
      return [];
    }
    const [schema, table] = name.split(".");
    const id = { schema, name: table };
    const connection = Connection.open("source");
    const reader = ask(connection, "TOP (0) *", id);
    const columns = reader.schema();
    reader[Symbol.dispose]();
    connection[Symbol.dispose]();
    if (!columns.some((column) => column.name === key)) {
      throw failure("config", 1, `${name} has no column \`${key}\`; hint: check \`key\``, { column: key });
    }
    const described = new TableDescription(id);
    described.setColumns(columns);
    described.setPrimaryKey([key]);
    return [described];
  }),

  plan: told((tables) => tables.map(planOf)),
};
