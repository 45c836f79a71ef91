//! Which log sequence numbers (LSN) of which capture instance a feed reads.
//!
//! All of it is decided before a function of change data capture is called: a range that is not valid is an error there whose text says
//! something else (313 or 208), and a range that was made fit would skip changes. (Work with Change Data.)

use std::fmt;

use crate::changes::position;

/// A log sequence number: ten bytes, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lsn(u128);

impl Lsn {
    const DIGITS: usize = 20;
    /// What the low end of an instance is that is not there, or not for the login to see. (sys.fn_cdc_get_min_lsn)
    pub(super) const ZERO: Self = Self(0);

    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == Self::DIGITS)?;
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        are_digits.then(|| u128::from_str_radix(digits, 16).ok())?.map(Self)
    }

    /// The least that is greater. (sys.fn_cdc_increment_lsn)
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The greatest that is less. (sys.fn_cdc_decrement_lsn)
    pub(super) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:020X}", self.0)
    }
}

/// Where the changes of an instance begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Low {
    /// The capture process has not come to it.
    NotBegun,
    /// The login may not see the instance.
    Hidden,
    /// The first LSN that it knows.
    At(Lsn),
}

impl Low {
    /// Of the function's answer.
    pub(super) fn of(lsn: Option<Lsn>) -> Self {
        match lsn {
            None => Self::NotBegun,
            Some(Lsn::ZERO) => Self::Hidden,
            Some(lsn) => Self::At(lsn),
        }
    }
}

/// A capture instance, so that another one of its name is told from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Any text.
    pub(super) name: String,
    /// `object_id` of its change table.
    pub(super) object_id: String,
    /// When it was made, without colons.
    pub(super) created: String,
}

/// A capture instance as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) identity: Identity,
    pub(super) low: Low,
}

impl Instance {
    fn begins_by(&self, lsn: Lsn) -> bool {
        matches!(self.low, Low::At(low) if low <= lsn)
    }
}

/// Everything up to `lsn` was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// `object_id` of the table.
    pub(super) table: String,
    /// Which instance was read last.
    pub(super) instance: Identity,
    pub(super) lsn: Lsn,
    /// None: changes after the position are of rows as they were at it.
    pub(super) copy: Option<TableCopy>,
}

/// A copy of the table may have read rows as they were after the position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TableCopy {
    /// The position is that of the copy, which had not ended.
    Begun,
    /// It had ended at this time of the server's clock.
    EndedBy(String),
}

impl position::Position for Position {
    const HEAD: &'static str = "c1:";

    fn parse(rest: &str) -> Option<Self> {
        let (rest, lsn) = rest.rsplit_once('=')?;
        let parts: Vec<&str> = rest.splitn(4, ':').collect();
        let [table, object_id, created, name] = <[&str; 4]>::try_from(parts).ok()?;
        let (copy, lsn) = match lsn.rsplit_once(':') {
            None => (None, lsn),
            Some((copy, lsn)) => (Some(TableCopy::parse(copy)?), lsn),
        };
        let (lsn, is_whole) = (Lsn::parse(lsn)?, ![table, object_id, created, name].contains(&""));
        let [name, object_id, created] = [name, object_id, created].map(str::to_owned);
        let instance = Identity { name, object_id, created };
        is_whole.then(|| Self { table: table.to_owned(), instance, lsn, copy })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, instance: Identity { name, object_id, created }, lsn, copy } = self;
        write!(f, "c1:{table}:{object_id}:{created}:{name}=")?;
        match copy {
            None => write!(f, "{lsn}"),
            Some(TableCopy::Begun) => write!(f, "copy:{lsn}"),
            Some(TableCopy::EndedBy(time)) => write!(f, "copy@{time}:{lsn}"),
        }
    }
}

impl TableCopy {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("copy")? {
            "" => Some(Self::Begun),
            time => time.strip_prefix('@').filter(|time| !time.is_empty()).map(|time| Self::EndedBy(time.to_owned())),
        }
    }
}

/// How far the capture process is, of the whole database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LogEnd {
    /// The last LSN that it has handled; none: it has handled none.
    pub(super) high: Option<Lsn>,
    /// When that was committed, by the server's clock; none: the server does not say.
    pub(super) committed_at: Option<String>,
    /// The server's clock.
    pub(super) now: String,
}

impl LogEnd {
    /// What is to be known of a copy at the position that is reached now. Whoever reads on has committed the copy before, so it had ended.
    /// As soon as something was captured that was committed later, all changes up to the copy's end were read.
    fn after(&self, copy: Option<&TableCopy>) -> Option<TableCopy> {
        match copy? {
            TableCopy::Begun => Some(TableCopy::EndedBy(self.now.clone())),
            TableCopy::EndedBy(time) if self.committed_at.as_ref().is_some_and(|committed| committed > time) => None,
            TableCopy::EndedBy(time) => Some(TableCopy::EndedBy(time.clone())),
        }
    }
}

/// What the server knows of the changes of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// `object_id` of the table.
    pub(super) table: String,
    /// Of the table, the newest last.
    pub(super) instances: Vec<Instance>,
    pub(super) end: LogEnd,
}

/// A range of one instance, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Among the known ones.
    pub(super) instance: usize,
    pub(super) from: Lsn,
    pub(super) to: Lsn,
}

/// What a feed reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Window {
    /// The whole table; changes after `upper` are for the next feed.
    Whole { upper: Position },
    /// These ranges, in their order; none: nothing is new.
    Onward { segments: Vec<Segment>, upper: Position },
    /// Changes are lost.
    Gap(String),
    /// The capture process has not come to this instance: no position holds yet.
    NotBegun { instance: String },
    /// The strategy cannot be used, and why.
    Refused(String),
}

impl Known {
    /// Decides what a feed reads.
    pub(super) fn window(&self, position: Option<&Position>, asked: Option<&Position>) -> Window {
        if let Some(reason) = self.hidden(position) {
            return Window::Refused(reason);
        }
        if let Some(other) = [position, asked].into_iter().flatten().find(|it| it.table != self.table) {
            return Window::Gap(position::other_table(&other.table, &self.table));
        }
        match position {
            Some(position) => self.onward(position, asked),
            None => self.whole(asked),
        }
    }

    /// Why the login may not see the position's instance, or any.
    fn hidden(&self, position: Option<&Position>) -> Option<String> {
        let sees_none = !self.instances.iter().any(|instance| matches!(instance.low, Low::At(_) | Low::NotBegun));
        let is_needed = |instance: &&Instance| sees_none || position.is_some_and(|it| it.instance == instance.identity);
        let hidden = self.instances.iter().filter(|instance| instance.low == Low::Hidden).find(is_needed)?;
        let name = &hidden.identity.name;
        Some(format!(
            "the login may not see the capture instance `{name}`: it needs the instance's gating role, and SELECT on all captured columns"
        ))
    }

    fn whole(&self, asked: Option<&Position>) -> Window {
        if let Some(asked) = asked {
            return Window::Whole { upper: asked.clone() };
        }
        let begun = self.instances.iter().rev().find_map(|instance| match instance.low {
            Low::At(low) => Some((instance, low)),
            _ => None,
        });
        match (begun, self.instances.last()) {
            // Of a fresh instance the capture process may stand before its beginning. All that was committed before is in the table.
            (Some((instance, low)), _) => {
                let lsn = low.previous().max(self.end.high.unwrap_or(Lsn::ZERO));
                Window::Whole { upper: self.position(&instance.identity, lsn, Some(TableCopy::Begun)) }
            }
            (None, Some(instance)) => Window::NotBegun { instance: instance.identity.name.clone() },
            (None, None) => Window::Refused("it has no capture instance".to_owned()),
        }
    }

    fn onward(&self, position: &Position, asked: Option<&Position>) -> Window {
        let from = position.lsn.next();
        let Some(first) = self.first(position) else { return Window::Gap(self.not_covered(position)) };
        let reached = match self.reached(position, first) {
            Ok(reached) => reached,
            Err(reason) => return Window::Gap(reason),
        };
        let to = asked.map_or(reached, |asked| asked.lsn);
        if to > reached {
            return Window::Gap(went_back(to, reached));
        }
        let (segments, last) = self.segments(first, from, to);
        let instance = self.instances.get(last).map_or(&position.instance, |last| &last.identity);
        // A bound may be of another reader's position, which knows nothing of this one's copy.
        let copy = self.end.after(position.copy.as_ref()).max(asked.and_then(|asked| asked.copy.clone()));
        let upper = self.position(instance, to.max(position.lsn), copy);
        Window::Onward { segments, upper }
    }

    /// The newest instance that knows all changes after a position. Another one than the position's counts only if it knew the
    /// position too: what was changed while there was none is in no instance.
    fn first(&self, position: &Position) -> Option<usize> {
        let is_there = self.instances.iter().any(|instance| instance.identity == position.instance);
        let begins_by = if is_there { position.lsn.next() } else { position.lsn };
        self.instances.iter().rposition(|instance| instance.begins_by(begins_by))
    }

    /// How far the changes reach by now, not below the position.
    fn reached(&self, position: &Position, first: usize) -> Result<Lsn, String> {
        let is_fresh = self.instances.get(first).is_some_and(|first| first.low == Low::At(position.lsn.next()));
        match self.end.high {
            Some(high) if high >= position.lsn => Ok(high),
            Some(high) if !is_fresh => Err(went_back(position.lsn, high)),
            // The capture process has not come to the beginning of the instance, or there is nothing that it has handled.
            _ => Ok(position.lsn),
        }
    }

    /// Cuts a range where a newer instance begins: it may have columns that the older one has not. The last instance of the range.
    fn segments(&self, first: usize, from: Lsn, to: Lsn) -> (Vec<Segment>, usize) {
        let (mut segments, mut instance, mut from) = (Vec::new(), first, from);
        while from <= to {
            let begins = |newer: &Instance| match newer.low {
                Low::At(low) if low > from && low <= to => Some(low),
                _ => None,
            };
            let newer = self.instances.iter().enumerate().skip(instance + 1);
            let next = newer.filter_map(|(at, newer)| Some((begins(newer)?, at))).min();
            let end = next.map_or(to, |(begin, _)| begin.previous());
            segments.push(Segment { instance, from, to: end });
            match next {
                Some((begin, newer)) => (instance, from) = (newer, begin),
                None => break,
            }
        }
        (segments, instance)
    }

    fn not_covered(&self, position: &Position) -> String {
        let Position { instance: Identity { name, .. }, lsn, .. } = position;
        let same = self.instances.iter().find(|instance| instance.identity == position.instance);
        match same.map(|same| same.low) {
            Some(Low::At(low)) => format!(
                "the capture instance `{name}` knows changes since {low}, and the position is {lsn}: its retention is over"
            ),
            Some(_) => format!("the capture instance `{name}` does not say any more since when it knows changes"),
            None if self.instances.iter().any(|instance| instance.identity.name == *name) => {
                format!("the capture instance `{name}` was dropped and made anew after the position {lsn}")
            }
            None => format!("the capture instance `{name}` is gone, and no other one knows the changes since {lsn}"),
        }
    }

    fn position(&self, instance: &Identity, lsn: Lsn, copy: Option<TableCopy>) -> Position {
        Position { table: self.table.clone(), instance: instance.clone(), lsn, copy }
    }

    /// Why the changes of an instance from an LSN on are not all there any more.
    pub(super) fn lost(&self, identity: &Identity, from: Lsn) -> Option<String> {
        let name = &identity.name;
        match self.instances.iter().find(|instance| instance.identity == *identity).map(|found| found.low) {
            Some(Low::At(low)) if low <= from => None,
            Some(Low::At(low)) => {
                Some(format!("the capture instance `{name}` knows changes since {low}, not since {from}"))
            }
            Some(Low::NotBegun | Low::Hidden) => {
                Some(format!("the capture instance `{name}` does not say any more since when it knows changes"))
            }
            None => Some(format!("the capture instance `{name}` is gone")),
        }
    }
}

fn went_back(was: Lsn, is: Lsn) -> String {
    format!("the log sequence number of the database went back, from {was} to {is}: it was restored or has failed over")
}

#[cfg(test)]
mod tests;
