//! Which files a run loads, and how they are cut into partitions.

use datakit_sdk::files::{Compression, FileColumn, FileFormat, FilePart, Files, FilesRead, FormatKind, Origin};
use datakit_sdk::{Error, FixedRows, PlannedPartition, TableId, TablePlan, bronze, log, state};
use serde::{Deserialize, Serialize};

use crate::listing::SourceFile;
use crate::memory::{Loaded, Memory};
use crate::settings::{ChangedFiles, Load, Settings, TableOptions, is_compressed};
use crate::shape::{Columns, SOURCE_FILE, SOURCE_MODIFIED};
use crate::{errors, folders, shape};

/// The state of a partition, in bytes: less than the least that any host allows.
const MAX_STATE_BYTES: usize = 60 << 10;
/// What a file adds to a state besides its own texts.
const FILE_OVERHEAD_BYTES: usize = 80;

/// What an extraction has to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The request for the rows.
    pub read: FilesRead,
    /// The columns that are kept of them, in their order.
    pub selected: Vec<String>,
}

/// The plan of one table, from the files there are and what the last commit remembers.
///
/// # Errors
/// A file that has changed, settings that do not fit, or a sample that the host refuses.
pub fn plan(
    store: &impl Files,
    id: &TableId,
    files: &[SourceFile],
    watermark: Option<&str>,
    started_at_micros: i64,
    settings: &Settings,
) -> Result<TablePlan, Error> {
    let options = settings.options(id)?;
    let memory = watermark.filter(|_| settings.load == Load::NewFiles).map(Memory::parse).transpose()?;
    let wanted = wanted(files, started_at_micros, settings, &options);
    let remembered = memory.as_ref().map(|memory| &memory.columns);
    let columns = shape::columns(store, id, &wanted, remembered, &options, settings)?;
    let selected = shape::selected(id, &columns, settings)?;
    bronze::check_names(id, selected.iter().map(String::as_str))?;
    let mut memory = memory.unwrap_or_default();
    let new = choose(&wanted, &memory, settings)?;
    log::debug(
        "planned",
        &[
            ("table", id.to_string()),
            ("files", new.len().to_string()),
            ("known", (wanted.len() - new.len()).to_string()),
        ],
    );
    let read = request(id, &columns, files, &options, settings)?;
    let partitions = partitions(&read, &selected, &new, settings)?;
    if settings.forget_gone_files {
        memory.keep_only(files);
    }
    new.iter().for_each(|file| memory.add(file));
    memory.columns = columns;
    let watermark = match settings.load {
        Load::NewFiles => Some(memory.text()?),
        Load::AllFiles => None,
    };
    let load_id_column = Some(bronze::BATCH_ID.to_owned());
    let fixed_rows = Some(FixedRows::Versions);
    Ok(TablePlan { partitions, watermark, load_id_column, fixed_rows, ..TablePlan::new(id.clone()) })
}

/// The files that the settings let be read, loaded or not.
pub(crate) fn wanted(
    files: &[SourceFile],
    started_at_micros: i64,
    settings: &Settings,
    options: &TableOptions,
) -> Vec<SourceFile> {
    let latest = started_at_micros.saturating_sub(i64::from(settings.min_age_seconds) * 1_000_000);
    files
        .iter()
        .filter(|file| settings.min_age_seconds == 0 || file.modified_micros <= latest)
        .filter(|file| folders::are_wanted(&file.path, options))
        .cloned()
        .collect()
}

/// Those of them that this run loads.
fn choose(wanted: &[SourceFile], memory: &Memory, settings: &Settings) -> Result<Vec<SourceFile>, Error> {
    let mut chosen = Vec::new();
    for file in wanted {
        match (memory.has(file), settings.changed_files) {
            (Loaded::No, _) | (Loaded::Changed, ChangedFiles::Load) => chosen.push(file.clone()),
            (Loaded::Yes, _) | (Loaded::Changed, ChangedFiles::Skip) => {}
            (Loaded::Changed, ChangedFiles::Error) => {
                let message = format!("`{}` was loaded, and has changed since", file.path);
                return Err(Error::data(errors::CHANGED_FILE, message)
                    .with_hint("set `changed_files` to `load`, and all of its rows are loaded once more, or to `skip`")
                    .with_context("file", &file.path));
            }
        }
    }
    Ok(chosen)
}

/// The request for all rows of the table, without files.
fn request(
    id: &TableId,
    columns: &Columns,
    files: &[SourceFile],
    options: &TableOptions,
    settings: &Settings,
) -> Result<FilesRead, Error> {
    let own = |name: &str, arrow_type: &str, from| FileColumn {
        name: name.to_owned(),
        arrow_type: arrow_type.to_owned(),
        from,
        format: None,
        strict: false,
    };
    let mut columns = columns.clone();
    for column in &mut columns {
        column.strict = options.infers(column);
    }
    // What is not selected is read as text, so that nothing in it can be wrong, and goes no further.
    let selection = settings.selection()?;
    for column in columns.iter_mut().filter(|column| !selection.has_column(id, &column.name)) {
        (column.arrow_type, column.format) = ("Utf8".into(), None);
    }
    columns.push(own(SOURCE_FILE, "Utf8", Origin::Path));
    columns.push(own(SOURCE_MODIFIED, "Timestamp(us, UTC)", Origin::Modified));
    Ok(FilesRead {
        table: id.clone(),
        files: Vec::new(),
        format: options.file_format(files.first().map(|file| file.path.as_str()))?,
        columns,
        missing_columns: options.missing_columns.unwrap_or_default(),
        extra_columns: options.extra_columns.unwrap_or_default(),
        max_rejected_rows: settings.max_bad_rows,
    })
}

/// Files in the order of their paths, so many to a partition that it has about the bytes it should have. Without a new file
/// one partition without files, which has the table's columns and no rows.
fn partitions(
    read: &FilesRead,
    selected: &[String],
    files: &[SourceFile],
    settings: &Settings,
) -> Result<Vec<PlannedPartition>, Error> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    let wanted_bytes = settings.partition_bytes.max(total.div_ceil(u64::from(settings.max_partitions.max(1)))).max(1);
    let names: Vec<String> = read
        .columns
        .iter()
        .filter(|column| column.from == Origin::Constant)
        .map(|column| column.name.clone())
        .collect();
    let state = |files| {
        let state = State { read: FilesRead { files, ..read.clone() }, selected: selected.to_vec() };
        state::write(&state)
    };
    let room = MAX_STATE_BYTES.saturating_sub(state(Vec::new())?.len());
    let mut groups: Vec<Vec<FilePart>> = vec![Vec::new()];
    let (mut group_bytes, mut group_text) = (0_u64, 0_usize);
    for file in files {
        let constants = folders::constants(&file.path, &names)?;
        for (mut part, bytes) in parts(file, &read.format, wanted_bytes) {
            part.constants.clone_from(&constants);
            let values: usize = part.constants.iter().flatten().map(|value| value.len() + 4).sum();
            let text = FILE_OVERHEAD_BYTES + part.path.len() + part.version.len() + values + 6 * part.constants.len();
            let is_full = group_bytes + bytes > wanted_bytes || group_text + text > room;
            if is_full && groups.last().is_some_and(|group| !group.is_empty()) {
                groups.push(Vec::new());
                (group_bytes, group_text) = (0, 0);
            }
            (group_bytes, group_text) = (group_bytes + bytes, group_text + text);
            if let Some(group) = groups.last_mut() {
                group.push(part);
            }
        }
    }
    groups.into_iter().map(|files| Ok(PlannedPartition { state: state(files)?, estimated_rows: None })).collect()
}

/// A file, or parts of a large one whose records end where lines end, with the bytes of each.
fn parts(file: &SourceFile, format: &FileFormat, wanted_bytes: u64) -> Vec<(FilePart, u64)> {
    let lines_are_records = format.kind != FormatKind::Csv || (format.quote.is_none() && format.escape.is_none());
    let plain = matches!(format.compression, Compression::Auto | Compression::None) && !is_compressed(&file.path);
    let utf8 = ["utf-8", "utf8"].contains(&format.encoding.to_lowercase().as_str());
    let can_be_cut = lines_are_records && plain && utf8 && format.skip_lines == 0;
    if !can_be_cut || file.size < 2 * wanted_bytes {
        return vec![(file.part(), file.size)];
    }
    let count = file.size.div_ceil(wanted_bytes);
    let bound = |part: u64| part * file.size / count;
    (0..count)
        .map(|part| {
            let (start, end) = (bound(part), bound(part + 1));
            // The last part has no end of its own.
            let end_of_part = (part + 1 < count).then_some(end);
            (FilePart { start, end: end_of_part, ..file.part() }, end - start)
        })
        .collect()
}
