//! The columns of a table: declared, remembered from the first load, or inferred from a sample.

use std::collections::HashMap;

use datakit_sdk::files::{Extra, FileColumn, FileFormat, Files, FilesRead, FormatKind, Origin};
use datakit_sdk::{Error, Field, Schema, TableId};

use crate::inference::Guess;
use crate::listing::SourceFile;
use crate::settings::{Settings, TableOptions};
use crate::{errors, folders, formats, members, names, types};

/// Where a row comes from: its file's path below the root.
pub const SOURCE_FILE: &str = "_source_file";
/// When that file was written last.
pub const SOURCE_MODIFIED: &str = "_source_modified_at";

/// The columns of a table's files, those of their folders after those within; without [`SOURCE_FILE`] and its like.
pub type Columns = Vec<FileColumn>;

/// The columns by what is known: the settings first, then what the last commit remembers, then a sample.
///
/// # Errors
/// Types that are none, names that are taken, or a sample that the host refuses.
pub fn columns(
    store: &impl Files,
    table: &TableId,
    files: &[SourceFile],
    remembered: Option<&Columns>,
    options: &TableOptions,
    settings: &Settings,
) -> Result<Columns, Error> {
    let mut columns = match (&options.schema, remembered) {
        (Some(_), _) => declared(options)?,
        (None, Some(remembered)) => of_origin(remembered, Origin::Field),
        (None, None) => {
            let (columns, has_rows) = inferred(store, table, files, options, settings)?;
            if !has_rows && (columns.is_empty() || columns.iter().any(|column| options.infers(column))) {
                return Err(no_row(table));
            }
            columns
        }
    };
    match remembered {
        Some(remembered) => {
            let folders = of_origin(remembered, Origin::Constant);
            refuse_new_folders(table, files, &folders, options)?;
            columns.extend(folders);
        }
        None => columns.extend(of_folders(files, options)),
    }
    for (name, type_name) in options.types.iter().flatten() {
        let arrow_type = types::arrow_type(type_name)?;
        match columns.iter_mut().find(|column| column.name == *name) {
            Some(column) => column.arrow_type = arrow_type,
            None => return Err(unknown(table, name)),
        }
    }
    columns.iter().try_for_each(|column| formats::check(table, column))?;
    check_names(table, &columns)?;
    Ok(columns)
}

/// Types that were inferred from nothing would be kept for all rows to come.
fn no_row(table: &TableId) -> Error {
    let message = format!("the files of {table} have no row yet, and nothing says the types of its columns");
    Error::data(errors::NO_ROW, message)
        .with_hint("run again when a file has rows, or declare the columns by `schema` or `types`")
        .with_context("table", table)
}

fn unknown(table: &TableId, name: &str) -> Error {
    Error::config(errors::NO_COLUMNS, format!("the settings name the column `{name}`, which {table} does not have"))
        .with_hint("names are compared with their case")
        .with_context("table", table)
        .with_context("column", name)
}

fn declared(options: &TableOptions) -> Result<Columns, Error> {
    let column = |setting: &crate::settings::ColumnSetting| {
        Ok(FileColumn {
            name: setting.name.clone(),
            arrow_type: types::arrow_type(&setting.column_type)?,
            from: Origin::Field,
            format: setting.format.clone(),
            strict: false,
        })
    };
    options.schema.iter().flatten().map(column).collect()
}

fn of_folders(files: &[SourceFile], options: &TableOptions) -> Columns {
    if options.hive_partitions == Some(false) {
        return Columns::new();
    }
    let names = folders::names(files);
    let mut guesses = vec![Guess::default(); names.len()];
    for file in files {
        for (name, value) in folders::values(&file.path) {
            let place = names.iter().position(|known| *known == name);
            if let (Some(place), Some(value)) = (place, value) {
                guesses[place].see(&value);
            }
        }
    }
    let column = |(name, guess): (String, Guess)| FileColumn {
        name,
        arrow_type: guess.arrow_type(),
        from: Origin::Constant,
        format: None,
        strict: false,
    };
    names.into_iter().zip(guesses).map(column).collect()
}

fn of_origin(columns: &Columns, origin: Origin) -> Columns {
    columns.iter().filter(|column| column.from == origin).cloned().collect()
}

/// Folders that make a column the table has not: what they say would be lost.
fn refuse_new_folders(
    table: &TableId,
    files: &[SourceFile],
    known: &Columns,
    options: &TableOptions,
) -> Result<(), Error> {
    if options.hive_partitions == Some(false) || options.extra_columns == Some(Extra::Ignore) {
        return Ok(());
    }
    match folders::names(files).into_iter().find(|name| !known.iter().any(|column| column.name == *name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!("folders have a column `{name}` which {table} does not have");
            Err(Error::data(errors::NEW_FOLDER, message)
                .with_hint("set `extra_columns` to `ignore`, or load all files anew with `mode = \"overwrite\"`")
                .with_context("table", table)
                .with_context("column", name))
        }
    }
}

fn check_names(table: &TableId, columns: &Columns) -> Result<(), Error> {
    let twice = |name: &str, what: &str| {
        let message = format!("{table} has two columns `{name}`: {what}");
        Error::config(errors::COLUMN_TWICE, message).with_context("column", name)
    };
    for (place, column) in columns.iter().enumerate() {
        if [SOURCE_FILE, SOURCE_MODIFIED].contains(&column.name.as_str()) {
            return Err(
                twice(&column.name, "one is the datakit's own").with_hint("exclude it by the setting `columns`")
            );
        }
        if let Some(first) = columns[..place].iter().find(|other| other.name == column.name) {
            return Err(match (first.from, column.from) {
                (Origin::Field, Origin::Constant) => twice(&column.name, "one in the files, one by their folders")
                    .with_hint("set `hive_partitions = false`, or rename the folders"),
                _ => twice(&column.name, "the settings name it twice").with_hint("see `schema` in the settings"),
            });
        }
    }
    Ok(())
}

/// The columns that the first records of some files show, and whether there is a row among them.
fn inferred(
    store: &impl Files,
    table: &TableId,
    files: &[SourceFile],
    options: &TableOptions,
    settings: &Settings,
) -> Result<(Columns, bool), Error> {
    let format = options.file_format(files.first().map(|file| file.path.as_str()))?;
    let header = u32::from(format.kind == FormatKind::Csv && format.header);
    let mut seen = Seen { leaves_out_unusable: options.extra_columns == Some(Extra::Ignore), ..Seen::default() };
    let sampled = evenly(files, settings.sample_files);
    // Files without a row are the smallest ones.
    let largest = files.iter().max_by_key(|file| file.size).filter(|file| !sampled.contains(file));
    for file in sampled.into_iter().chain(largest) {
        if seen.rows > 0 && largest == Some(file) {
            break;
        }
        let sample = FilesRead { files: vec![file.part()], ..FilesRead::new(table.clone(), format.clone()) };
        let batches = store.first_records(&sample, (settings.sample_rows + header).min(10_000))?;
        seen.begin_file();
        for batch in &batches {
            let (records, problems) = (batch.column("record")?, batch.column("problem")?);
            for row in 0..batch.len() {
                match (records.text(row)?, problems.text(row)?) {
                    (Some(record), _) => seen.record(record, &format)?,
                    (None, problem) => seen.no_record(table, &file.path, problem.unwrap_or_default()),
                }
            }
        }
        seen.new_names().try_for_each(|name| names::check(table, &file.path, name, &format))?;
    }
    let has_rows = seen.rows > 0;
    match seen.problem.take() {
        // The other files say what the columns are, and reading this one says what is wrong with it.
        Some(problem) if !has_rows => Err(problem),
        _ => Ok((seen.columns(), has_rows)),
    }
}

/// At most so many files, the first and the last among them.
fn evenly(files: &[SourceFile], wanted: u32) -> Vec<&SourceFile> {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(files.len());
    match wanted {
        0 => Vec::new(),
        1 => vec![&files[files.len() - 1]],
        _ => (0..wanted).map(|place| &files[place * (files.len() - 1) / (wanted - 1)]).collect(),
    }
}

/// What samples have shown so far.
#[derive(Default)]
struct Seen {
    names: Vec<String>,
    guesses: Vec<Guess>,
    places: HashMap<String, usize>,
    rows: u64,
    /// The first file of which no record can be read.
    problem: Option<Error>,
    /// Names of the files before this one.
    known: usize,
    /// Columns that no table can have are no columns.
    leaves_out_unusable: bool,
    /// Of the current file: for each field the place of its column; none: its header is still to come.
    header: Option<Vec<Option<usize>>>,
}

impl Seen {
    fn begin_file(&mut self) {
        self.header = None;
        self.known = self.names.len();
    }

    fn no_record(&mut self, table: &TableId, path: &str, problem: &str) {
        let error = || {
            Error::data(errors::NO_RECORD, format!("`{path}`: {problem}"))
                .with_context("table", table)
                .with_context("file", path)
        };
        self.problem.get_or_insert_with(error);
    }

    /// The names that this file has brought.
    fn new_names(&self) -> impl Iterator<Item = &str> {
        self.names[self.known..].iter().map(String::as_str)
    }

    /// None for a column that is left out.
    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        if self.leaves_out_unusable && !names::is_usable(name) {
            return None;
        }
        let place = self.names.len();
        self.names.push(name.to_owned());
        self.guesses.push(Guess::default());
        self.places.insert(name.to_owned(), place);
        Some(place)
    }

    fn record(&mut self, record: &str, format: &FileFormat) -> Result<(), Error> {
        let wrong = |error: serde_json::Error| Error::datakit(errors::UNEXPECTED_ANSWER, error.to_string());
        match format.kind {
            FormatKind::JsonLines | FormatKind::Json => {
                self.rows += 1;
                for (name, value) in members::split(record).map_err(wrong)? {
                    if let Some(place) = self.place(&name) {
                        self.see_json(place, value);
                    }
                }
            }
            FormatKind::Csv => {
                let fields: Vec<String> = serde_json::from_str(record).map_err(wrong)?;
                self.fields(&fields, format);
            }
        }
        Ok(())
    }

    fn fields(&mut self, fields: &[String], format: &FileFormat) {
        if self.header.is_none() {
            // A column without a name is one that the host refuses, unless the settings leave it out.
            let named = |(number, field): (usize, &String)| match format.header {
                true => field.trim().to_owned(),
                false => format!("column_{}", number + 1),
            };
            let names: Vec<String> = fields.iter().enumerate().map(named).collect();
            self.header =
                Some(names.iter().map(|name| if name.is_empty() { None } else { self.place(name) }).collect());
            if format.header {
                return;
            }
        }
        self.rows += 1;
        let places = self.header.clone().unwrap_or_default();
        // A record of another length is a bad one, of which nothing is to be learnt.
        if places.len() != fields.len() {
            return;
        }
        for (place, field) in places.into_iter().zip(fields) {
            let text = if format.trim { field.trim() } else { field };
            let is_null = format.null_values.iter().any(|null| null == text);
            if let Some(guess) = place.and_then(|place| self.guesses.get_mut(place)).filter(|_| !is_null) {
                guess.see_written(text, format.decimal_comma);
            }
        }
    }

    /// JSON says itself what is a number and what is text.
    fn see_json(&mut self, place: usize, value: &str) {
        let guess = &mut self.guesses[place];
        match value.as_bytes() {
            [] | [b'n', ..] => {}
            [b't' | b'f', ..] => guess.see(value),
            [b'"' | b'[' | b'{', ..] => guess.see("text"),
            _ => guess.see_json_number(value),
        }
    }

    fn columns(self) -> Columns {
        let column = |(name, guess): (String, Guess)| FileColumn {
            name,
            arrow_type: guess.arrow_type(),
            from: Origin::Field,
            format: None,
            strict: false,
        };
        self.names.into_iter().zip(self.guesses).map(column).collect()
    }
}

/// The columns that the settings leave, by their names.
///
/// # Errors
/// A rule for this table that names a column it lacks, or a selection that leaves none.
pub fn selected(table: &TableId, columns: &Columns, settings: &Settings) -> Result<Vec<String>, Error> {
    let selection = settings.selection()?;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    if let Some(name) = selection.unknown_column(table, &names) {
        return Err(unknown(table, &name));
    }
    let left: Vec<String> =
        names.into_iter().filter(|name| selection.has_column(table, name)).map(str::to_owned).collect();
    if left.is_empty() {
        return Err(Error::config(errors::NO_COLUMNS, format!("there is no column of {table} to read"))
            .with_hint("declare `schema` for a table whose files have no rows yet, and see `columns` in the settings")
            .with_context("table", table));
    }
    Ok(left)
}

/// Columns as the host lists them.
#[must_use]
pub fn listed(columns: &Columns) -> Schema {
    let field = |column: &FileColumn| Field {
        name: column.name.clone(),
        arrow_type: column.arrow_type.clone(),
        nullable: true,
        metadata: Vec::new(),
    };
    columns.iter().map(field).collect()
}
