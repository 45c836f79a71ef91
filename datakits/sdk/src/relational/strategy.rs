//! By which strategy a table is loaded, and why.

use super::watermark::Rule;
use super::{Dialect, RelationalSettings as _, SourceTable};
use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::changes::{Changes, Offer, Strategy};
use crate::selection::Selection;

/// What the operator says about how a table is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// All rows, each time.
    Full,
    /// By the best strategy that the table offers.
    Auto,
    /// By this strategy.
    By(Strategy),
}

/// How a table is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// None: all rows.
    pub(super) strategy: Option<Strategy>,
    /// Why, where the operator left it open.
    pub(super) why: Option<String>,
}

impl Chosen {
    fn said(strategy: Option<Strategy>) -> Self {
        Self { strategy, why: None }
    }
}

/// What the strategy of one table depends on.
#[derive(Debug)]
pub(super) struct Strategies<'a> {
    choice: Option<Choice>,
    /// By the rule of the setting `watermark`.
    watermark: Option<Strategy>,
    /// The strategy that the last load's position is of.
    committed: Option<String>,
    offers: &'a [Offer],
}

impl<'a> Strategies<'a> {
    /// Reads the settings and the last load's position. `offers` count only where the settings leave the choice open.
    ///
    /// # Errors
    /// A pattern that is not one, a watermark column that the table does not have.
    pub(super) fn of<D: Dialect>(
        table: &SourceTable<D::Column>,
        selection: &Selection,
        settings: &D::Settings,
        changes: &impl Changes,
        offers: &'a [Offer],
    ) -> Result<Self, Error> {
        let rule = Rule::<D>::of(table, selection, settings)?;
        let choice = settings.choice(selection, &table.id)?;
        // Whoever asks reads the sink's state: not of tables that are read whole whatever it says.
        let depends_on_last_load = matches!(choice, Some(Choice::Auto | Choice::By(_)));
        let position = if depends_on_last_load { changes.position(&table.id) } else { None };
        Ok(Self {
            choice,
            watermark: rule.map(|rule| rule.strategy()),
            committed: position.and_then(|position| changes.strategy_of(&position)),
            offers,
        })
    }

    /// The strategy, or why the load cannot go on from the last one.
    pub(super) fn choose(self) -> Result<Chosen, String> {
        match self.choice {
            Some(Choice::Auto) => self.best(),
            Some(Choice::By(strategy)) => match self.committed {
                Some(committed) if !strategy.goes_on_from(&committed) => Err(format!(
                    "the last load was by the strategy `{committed}`, and the settings say `{}`",
                    strategy.name()
                )),
                _ => Ok(Chosen::said(Some(strategy))),
            },
            Some(Choice::Full) => Ok(Chosen::said(None)),
            None => Ok(Chosen::said(self.watermark)),
        }
    }

    /// A table that was loaded by a strategy keeps it: a better one would have to load all rows anew.
    fn best(self) -> Result<Chosen, String> {
        let can = |offer: &&Offer| offer.refused.is_none();
        if let Some(committed) = self.committed {
            let offered = self.offers.iter().find(|offer| offer.strategy == committed);
            let strategy = match offered {
                Some(Offer { refused: Some(reason), .. }) => {
                    return Err(format!(
                        "the last load was by the strategy `{committed}`, which is not possible any more: {reason}"
                    ));
                }
                Some(offer) => Strategy::named(&offer.strategy),
                None => self.watermark.filter(|strategy| strategy.name() == committed),
            };
            let gone =
                || format!("the last load was by the strategy `{committed}`, which the table does not offer any more");
            let strategy = strategy.ok_or_else(gone)?;
            return Ok(Chosen { strategy: Some(strategy), why: Some("as the last load".to_owned()) });
        }
        let offered = self.offers.iter().filter(can).find_map(|offer| Strategy::named(&offer.strategy));
        let strategy = offered.or(self.watermark);
        let worse = strategy.as_ref().map(Strategy::name);
        let refused = self.offers.iter().take_while(|offer| Some(offer.strategy.as_str()) != worse);
        let refused: Vec<String> =
            refused.filter_map(|offer| Some(format!("{}: {}", offer.strategy, offer.refused.as_deref()?))).collect();
        let why = if refused.is_empty() { "the best that the table offers".to_owned() } else { refused.join("; ") };
        Ok(Chosen { strategy, why: Some(why) })
    }
}

/// The offers of the tables whose strategy is left open, by table; of the others there are none.
///
/// # Errors
/// A pattern that is not one; what the host or the server refused.
pub(super) fn offers<D: Dialect>(
    changes: &impl Changes,
    selection: &Selection,
    settings: &D::Settings,
    wanted: &[TableId],
) -> Result<Vec<Vec<Offer>>, Error> {
    let open: Vec<bool> = wanted
        .iter()
        .map(|table| Ok(settings.choice(selection, table)? == Some(Choice::Auto)))
        .collect::<Result<_, Error>>()?;
    let asked: Vec<TableId> =
        wanted.iter().zip(&open).filter(|(_, open)| **open).map(|(table, _)| table.clone()).collect();
    let mut answers = if asked.is_empty() { Vec::new() } else { changes.offers(&asked)? }.into_iter();
    Ok(open.into_iter().map(|open| if open { answers.next().unwrap_or_default() } else { Vec::new() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(strategy: &str, refused: Option<&str>) -> Offer {
        Offer { strategy: strategy.into(), refused: refused.map(Into::into) }
    }

    fn watermark() -> Strategy {
        Strategy::Watermark { column: "at".into(), lag: 0, overlap: 0 }
    }

    /// The strategy and why.
    fn chosen(
        choice: Choice,
        watermark: Option<Strategy>,
        committed: Option<&str>,
        offers: &[Offer],
    ) -> Result<String, String> {
        let committed = committed.map(str::to_owned);
        let Chosen { strategy, why } = Strategies { choice: Some(choice), watermark, committed, offers }.choose()?;
        Ok(format!("{}, {}", strategy.as_ref().map_or("full", Strategy::name), why.unwrap_or_default()))
    }

    #[test]
    fn best_strategy_is_the_first_that_can_be_and_says_what_better_ones_lack() {
        let offers = [offer("cdc", Some("off")), offer("change-tracking", None), offer("row-version", None)];
        let auto = |watermark, offers: &[Offer]| chosen(Choice::Auto, watermark, None, offers).unwrap();
        assert_eq!(auto(None, &offers), "change-tracking, cdc: off");
        assert_eq!(auto(Some(watermark()), &offers[1..]), "change-tracking, the best that the table offers");
        assert_eq!(auto(Some(watermark()), &offers[..1]), "watermark, cdc: off");
        assert_eq!(auto(None, &offers[..1]), "full, cdc: off");
        assert_eq!(auto(None, &[offer("of-a-later-host", None)]), "full, the best that the table offers");
    }

    #[test]
    fn table_keeps_the_strategy_of_its_last_load() {
        let offers = [offer("cdc", None), offer("change-tracking", None)];
        let auto = |watermark, committed| chosen(Choice::Auto, watermark, Some(committed), &offers);
        assert_eq!(auto(None, "change-tracking").unwrap(), "change-tracking, as the last load");
        assert_eq!(auto(Some(watermark()), "watermark").unwrap(), "watermark, as the last load");
        assert!(auto(None, "watermark").unwrap_err().contains("does not offer any more"));
        let off = [offer("cdc", Some("it is off"))];
        let lost = chosen(Choice::Auto, None, Some("cdc"), &off).unwrap_err();
        assert!(lost.ends_with("not possible any more: it is off"), "{lost}");
    }

    #[test]
    fn what_the_operator_says_counts_unless_the_last_load_was_by_another_strategy() {
        let by = |committed| chosen(Choice::By(Strategy::Cdc), Some(watermark()), committed, &[]);
        assert_eq!(by(None).unwrap(), "cdc, ");
        assert_eq!(by(Some("cdc")).unwrap(), "cdc, ");
        let net = chosen(Choice::By(Strategy::CdcNet), None, Some("cdc"), &[]);
        assert_eq!(net.unwrap(), "cdc-net, ", "one position serves both");
        assert!(by(Some("watermark")).unwrap_err().contains("`watermark`"));
        assert_eq!(chosen(Choice::Full, Some(watermark()), Some("cdc"), &[]).unwrap(), "full, ");
    }
}
