//! A moment of a simulated machine, and everything that a power cut at that moment may leave.
//!
//! What is not durable is a list of questions, each decided by itself: does a directory change
//! survive, how long is a file, which of the things that a sector held does it hold? A [`Fate`] is
//! one answer to all. Questions that no longer matter (about a file without a name, a sector behind
//! the file's end, a change of a name whose earlier change is lost) are answered with "as on the
//! device", so that no two fates are told apart by them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::SimStorage;
use super::inode::{Inode, SECTOR_BYTES};
use super::random::Random;
use super::state::{InodeId, State};

/// One question that a power cut answers.
#[derive(Debug, Clone)]
enum Question {
    /// Whether a directory change survives, by its number.
    Change(usize),
    /// Which of these lengths a file has.
    Length(InodeId, Vec<usize>),
    /// Which of these choices a sector holds.
    Sector(InodeId, usize, Vec<usize>),
}

impl Question {
    /// The number of answers; 0 is always "as on the device", the last one the newest.
    fn answers(&self) -> usize {
        match self {
            Question::Change(_) => 2,
            Question::Length(_, lengths) => lengths.len(),
            Question::Sector(_, _, choices) => choices.len(),
        }
    }

    fn newest(&self) -> u16 {
        (self.answers() - 1) as u16
    }
}

/// An answer to each question of a [`Moment`]: one thing that a power cut may leave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fate(Vec<u16>);

/// How many fates are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// All of them, if there are no more than this.
    pub exhaustive: usize,
    /// About this many, otherwise.
    pub samples: usize,
}

/// Fates of one moment, all different.
#[derive(Debug)]
pub struct Survivors {
    /// The fates.
    pub fates: Vec<Fate>,
    /// Whether these are all that there are.
    pub complete: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Moment {
    number: u64,
    call: String,
    state: State,
    questions: Vec<Question>,
}

impl Moment {
    pub(super) fn new(number: u64, call: String, state: State) -> Self {
        let mut questions: Vec<Question> =
            (0..state.pending().len()).map(Question::Change).collect();
        for (&id, inode) in state.inodes() {
            let lengths = inode.lengths();
            if lengths.len() > 1 {
                questions.push(Question::Length(id, lengths));
            }
            let sectors = inode.undecided_sectors();
            questions
                .extend(sectors.map(|(sector, choices)| Question::Sector(id, sector, choices)));
        }
        Moment { number, call, state, questions }
    }

    /// The number of the changing call that has just had its effect.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What that call was.
    pub fn call(&self) -> &str {
        &self.call
    }

    /// How much is undecided.
    pub fn questions(&self) -> usize {
        self.questions.len()
    }

    /// The fates to look at.
    pub fn survivors(&self, bounds: Bounds, random: &mut Random) -> Survivors {
        match self.all(bounds.exhaustive) {
            Some(fates) => Survivors { fates, complete: true },
            None => Survivors { fates: self.sample(bounds.samples, random), complete: false },
        }
    }

    /// Any fate, whatever is undecided.
    pub fn any_fate(&self, random: &mut Random) -> Fate {
        let keeps = random.below(4);
        self.fate(|question| match keeps {
            0 => question.newest() * u16::from(random.below(8) > 0),
            1 => question.newest() * u16::from(random.below(8) == 0),
            _ => random.below(question.answers() as u64) as u16,
        })
    }

    /// The machine after a power cut with this fate.
    pub fn after(&self, fate: &Fate) -> SimStorage {
        let answers = Answers::of(self, fate);
        let mut images = BTreeMap::new();
        let names = answers.names.iter().filter_map(|(name, &id)| {
            let inode = self.state.inodes().get(&id)?;
            let image = images.entry(id).or_insert_with(|| answers.image(id, inode));
            Some((name.clone(), id, Arc::clone(image)))
        });
        SimStorage::from_state(self.state.rebooted(names))
    }

    /// The machine after the process was killed: everything visible stays so.
    pub fn killed(&self) -> SimStorage {
        SimStorage::from_state(self.state.after_kill())
    }

    /// What of the undecided survives with this fate, for people.
    pub fn describe(&self, fate: &Fate) -> String {
        let answered = self.questions.iter().zip(&fate.0).filter(|(_, answer)| **answer > 0);
        let survivors: Vec<String> = answered
            .map(|(question, &answer)| match question {
                Question::Change(number) => format!("{}", self.state.pending()[*number]),
                Question::Length(id, lengths) => {
                    format!(
                        "the length {} of {}",
                        lengths[answer as usize],
                        self.state.name_of(*id)
                    )
                }
                Question::Sector(id, sector, _) => {
                    let name = self.state.name_of(*id);
                    let which = match question.newest() {
                        1 => String::new(),
                        newest => format!(" (version {answer} of {newest})"),
                    };
                    format!("sector {sector} of {name}{which}")
                }
            })
            .collect();
        let of = self.questions.len();
        if survivors.is_empty() {
            return format!("nothing survived of {of} undecided");
        }
        format!("{} of {of} undecided survived: {}", survivors.len(), survivors.join(", "))
    }

    /// The fate with these answers, as far as they matter.
    fn fate(&self, answer: impl FnMut(&Question) -> u16) -> Fate {
        self.settled(Fate(self.questions.iter().map(answer).collect()))
    }

    /// The same fate without answers that do not matter.
    fn settled(&self, mut fate: Fate) -> Fate {
        let mut lost = HashSet::new();
        for (at, question) in self.questions.iter().enumerate() {
            let Question::Change(number) = question else { break };
            let names = self.state.pending()[*number].names();
            if fate.0[at] == 0 || names.iter().any(|name| lost.contains(name)) {
                fate.0[at] = 0;
                lost.extend(names);
            }
        }
        let answers = Answers::of(self, &fate);
        let matters: Vec<bool> =
            self.questions.iter().map(|question| answers.matters(question)).collect();
        for (answer, matters) in fate.0.iter_mut().zip(matters) {
            *answer *= u16::from(matters);
        }
        fate
    }

    /// All fates, unless there are more than `most`.
    fn all(&self, most: usize) -> Option<Vec<Fate>> {
        let changes = self.state.pending().len();
        let mut fates = vec![Fate(Vec::new())];
        for number in 0..changes {
            fates = longer(fates, most, |fate| if self.can_survive(number, fate) { 2 } else { 1 })?;
        }
        let mut all = Vec::new();
        for fate in fates {
            let reached = Answers::of(self, &fate).reached;
            let mut partial = vec![fate];
            for (at, question) in self.questions.iter().enumerate().skip(changes) {
                partial = longer(partial, most, |fate| {
                    let matters = match question {
                        Question::Change(_) => true,
                        Question::Length(id, _) => reached.contains(id),
                        Question::Sector(id, sector, choices) => {
                            reached.contains(id) && self.shows(*id, *sector, choices, &fate.0[..at])
                        }
                    };
                    if matters { question.answers() as u16 } else { 1 }
                })?;
            }
            all.extend(partial);
            if all.len() > most {
                return None;
            }
        }
        Some(all)
    }

    /// Whether the answer about a sector can be seen after the earlier answers.
    fn shows(&self, id: InodeId, sector: usize, choices: &[usize], earlier: &[u16]) -> bool {
        let Some(inode) = self.state.inodes().get(&id) else { return false };
        // The question of the length stands in front of those of the file's sectors.
        let length = self.questions.iter().zip(earlier).rev().find_map(|asked| match asked {
            (Question::Length(of, lengths), answer) if *of == id => Some(lengths[*answer as usize]),
            _ => None,
        });
        inode.shows(sector, choices, length.unwrap_or(inode.durable().len()))
    }

    /// Whether a directory change can survive after the earlier answers.
    fn can_survive(&self, number: usize, earlier: &Fate) -> bool {
        let pending = self.state.pending();
        let asked = pending.iter().zip(&earlier.0);
        let lost = asked.filter(|(_, answer)| **answer == 0).map(|(change, _)| change.names());
        !lost.flatten().any(|name| pending[number].names().contains(&name))
    }

    /// Some fates, the likeliest to be trouble among them: nothing, everything, each prefix of the
    /// last write, one thing lost or kept, and whatever chance brings.
    fn sample(&self, samples: usize, random: &mut Random) -> Vec<Fate> {
        let mut fates = BTreeSet::from([self.fate(|_| 0), self.fate(Question::newest)]);
        let count = self.questions.len() as u64;
        // Fates coincide at times: a bound for the attempts.
        for attempt in 0..4 * samples {
            if fates.len() >= samples {
                break;
            }
            let chosen = &self.questions[random.below(count) as usize];
            let is_chosen = |question: &Question| std::ptr::eq(question, chosen);
            fates.insert(match attempt % 4 {
                0 => self.torn(random),
                1 => self.fate(|question| if is_chosen(question) { 0 } else { question.newest() }),
                // Names and lengths survive, for without them one sector shows nothing.
                2 => self.fate(|question| match question {
                    Question::Sector(..) if !is_chosen(question) => 0,
                    _ => question.newest(),
                }),
                _ => self.any_fate(random),
            });
        }
        fates.into_iter().collect()
    }

    /// Everything but the end of the last write.
    fn torn(&self, random: &mut Random) -> Fate {
        let Some((of, sectors)) = self.state.last_write() else { return self.any_fate(random) };
        let end = sectors.start + random.below(sectors.len() as u64 + 1) as usize;
        let is_cut = random.coin();
        self.fate(|question| match question {
            Question::Sector(id, sector, _)
                if id == of && sectors.contains(sector) && *sector >= end =>
            {
                0
            }
            Question::Length(id, lengths) if id == of && is_cut => {
                let kept = lengths.iter().rposition(|length| *length <= end * SECTOR_BYTES);
                kept.unwrap_or(0) as u16
            }
            _ => question.newest(),
        })
    }
}

/// All fates that are one answer longer, unless there are more than `most`.
fn longer(fates: Vec<Fate>, most: usize, answers: impl Fn(&Fate) -> u16) -> Option<Vec<Fate>> {
    let mut longer = Vec::new();
    for fate in fates {
        longer.extend((0..answers(&fate)).map(|answer| {
            let mut fate = fate.clone();
            fate.0.push(answer);
            fate
        }));
        if longer.len() > most {
            return None;
        }
    }
    Some(longer)
}

/// The answers of a fate, or of its beginning, by what they are about.
struct Answers<'a> {
    names: BTreeMap<String, InodeId>,
    /// The files that these names lead to.
    reached: HashSet<InodeId>,
    lengths: BTreeMap<InodeId, usize>,
    sectors: BTreeMap<(InodeId, usize), usize>,
    inodes: &'a BTreeMap<InodeId, Inode>,
}

impl<'a> Answers<'a> {
    fn of(moment: &'a Moment, fate: &Fate) -> Self {
        let names =
            moment.state.surviving_names(|number| fate.0.get(number).is_some_and(|a| *a > 0));
        let reached = names.values().copied().collect();
        let (mut lengths, mut sectors) = (BTreeMap::new(), BTreeMap::new());
        for (question, &answer) in moment.questions.iter().zip(&fate.0) {
            match question {
                Question::Change(_) => {}
                Question::Length(id, choices) => {
                    lengths.insert(*id, choices[answer as usize]);
                }
                Question::Sector(id, sector, choices) => {
                    sectors.insert((*id, *sector), choices[answer as usize]);
                }
            }
        }
        Answers { names, reached, lengths, sectors, inodes: moment.state.inodes() }
    }

    fn length(&self, id: InodeId, inode: &Inode) -> usize {
        self.lengths.get(&id).copied().unwrap_or(inode.durable().len())
    }

    /// Whether the answer to `question` can be seen, given those to the earlier ones.
    fn matters(&self, question: &Question) -> bool {
        match question {
            Question::Change(_) => true,
            Question::Length(id, _) => self.reached.contains(id),
            Question::Sector(id, sector, choices) => {
                let inode = self.inodes.get(id).filter(|_| self.reached.contains(id));
                inode.is_some_and(|inode| inode.shows(*sector, choices, self.length(*id, inode)))
            }
        }
    }

    fn image(&self, id: InodeId, inode: &Inode) -> Arc<Vec<u8>> {
        let choice = |sector| self.sectors.get(&(id, sector)).copied().unwrap_or(0);
        inode.image(self.length(id, inode), choice)
    }
}

#[cfg(test)]
mod tests;
