//! What names mean: FROM items, their columns, and the lattice of values.

use std::rc::Rc;

use event::{ClientId, Sealing};

use crate::types::ClientOf;

/// What an expression may hold.
#[derive(Clone, Debug)]
pub(crate) enum Val {
    /// Literals and parameters alone: could be sealed, or stay plain.
    Const,
    /// A cell of a column, whole.
    Cell(Rc<CellRef>),
    /// Something that may have cells in it (of this column): a row, json, an array, a mixture.
    Holds(Rc<CellRef>),
    /// Nothing sealed.
    Other,
}

/// A sealed column, as reached from somewhere.
#[derive(Clone, Debug)]
pub(crate) struct CellRef {
    pub(crate) sealing: Sealing,
    /// Index into the statement's relations.
    pub(crate) relation: usize,
    /// `relation` as pinned, for messages.
    pub(crate) relation_name: String,
    pub(crate) column: String,
    pub(crate) client: ClientOf,
}

impl CellRef {
    /// `relation.column`.
    pub(crate) fn label(&self) -> String {
        format!("{}.{}", self.relation_name, self.column)
    }
}

impl Val {
    /// The column whose cells this may hold.
    pub(crate) fn sealed(&self) -> Option<&Rc<CellRef>> {
        match self {
            Self::Cell(cell) | Self::Holds(cell) => Some(cell),
            Self::Const | Self::Other => None,
        }
    }

    /// The same, but no longer a whole cell that can be compared.
    pub(crate) fn held(self) -> Self {
        match self {
            Self::Cell(cell) => Self::Holds(cell),
            other => other,
        }
    }
}

/// A column of a FROM item or of a query's result.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// `None`: a name that PostgreSQL makes up.
    pub(crate) name: Option<String>,
    pub(crate) value: Val,
}

/// A query's result, or the columns of a relation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    pub(crate) listed: Vec<Column>,
    /// What a column that is not listed holds; `None`: there is none.
    pub(crate) rest: Option<Box<Val>>,
    /// Whether the place of a column in `listed` is its place in the result.
    pub(crate) in_order: bool,
}

impl Columns {
    /// Of a relation about which nothing is known.
    pub(crate) fn unknown() -> Self {
        Self {
            listed: Vec::new(),
            rest: Some(Box::new(Val::Other)),
            in_order: false,
        }
    }

    /// The first sealed value in it.
    pub(crate) fn sealed(&self) -> Option<&Rc<CellRef>> {
        let rest = self.rest.as_deref().and_then(Val::sealed);
        self.listed
            .iter()
            .find_map(|column| column.value.sealed())
            .or(rest)
    }

    /// A row of it as one value.
    pub(crate) fn row(&self) -> Val {
        self.sealed()
            .map_or(Val::Other, |cell| Val::Holds(cell.clone()))
    }
}

/// An item of a FROM clause, or the target of an UPDATE and the like.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) alias: Option<String>,
    pub(crate) columns: Columns,
    /// For a pinned relation: the name of the column that holds the client.
    pub(crate) client_column: Option<String>,
    /// The client that the statement equates it with.
    pub(crate) client: ClientOf,
    pub(crate) pinned: bool,
}

impl Item {
    /// Sets whose the rows of this item are, in all its cells.
    pub(crate) fn set_client(&mut self, client: ClientOf) {
        self.client = client;
        for column in &mut self.columns.listed {
            if let Val::Cell(cell) | Val::Holds(cell) = &mut column.value {
                Rc::make_mut(cell).client = client;
            }
        }
    }
}

/// The names that an expression sees.
#[derive(Clone, Default)]
pub(crate) struct Scope<'p> {
    pub(crate) items: Vec<Item>,
    /// Columns that JOIN ... USING merged: their place in the order of `*` is not followed.
    pub(crate) merged: bool,
    pub(crate) parent: Option<&'p Scope<'p>>,
}

/// What came of looking for a column.
pub(crate) enum Found {
    Value(Val),
    /// A pinned relation has no such column.
    NotPinned,
    Nothing,
}

const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"];

impl Scope<'_> {
    pub(crate) fn child(&self) -> Scope<'_> {
        Scope {
            items: Vec::new(),
            merged: false,
            parent: Some(self),
        }
    }

    /// An item by its name, from the innermost level outward.
    pub(crate) fn item(&self, alias: &str) -> Option<&Item> {
        let own = self
            .items
            .iter()
            .find(|item| item.alias.as_deref() == Some(alias));
        own.or_else(|| self.parent.and_then(|parent| parent.item(alias)))
    }

    /// `column` without qualifier; a whole row if it names an item. `None`: nothing that is known
    /// has such a column, and something sealed is in sight.
    pub(crate) fn unqualified(&self, column: &str) -> Option<Val> {
        let mut level = Some(self);
        let mut elsewhere = false;
        while let Some(scope) = level {
            for item in &scope.items {
                match item.column(column) {
                    Found::Value(value) if item.is_listed(column) => {
                        return Some(if elsewhere { value.held() } else { value });
                    }
                    Found::Value(value) => {
                        if value.sealed().is_some() {
                            return Some(value);
                        }
                        elsewhere = true;
                    }
                    Found::NotPinned | Found::Nothing => {}
                }
            }
            level = scope.parent;
        }
        if let Some(item) = self.item(column) {
            return Some(item.columns.row());
        }
        (elsewhere || !self.sees_sealed()).then_some(Val::Other)
    }

    fn sees_sealed(&self) -> bool {
        self.items
            .iter()
            .any(|item| item.columns.sealed().is_some())
            || self.parent.is_some_and(Scope::sees_sealed)
    }
}

impl Item {
    fn is_listed(&self, column: &str) -> bool {
        self.columns
            .listed
            .iter()
            .any(|listed| listed.name.as_deref() == Some(column))
    }

    /// A column of this item.
    pub(crate) fn column(&self, name: &str) -> Found {
        let named = |column: &&Column| column.name.as_deref() == Some(name);
        if let Some(column) = self.columns.listed.iter().find(named) {
            return Found::Value(column.value.clone());
        }
        let nameless = |column: &&Column| column.name.is_none() && column.value.sealed().is_some();
        if let Some(column) = self.columns.listed.iter().find(nameless) {
            return Found::Value(column.value.clone().held());
        }
        if self
            .columns
            .listed
            .iter()
            .any(|column| column.name.is_none())
        {
            return Found::Value(Val::Other);
        }
        match &self.columns.rest {
            Some(rest) => Found::Value((**rest).clone()),
            None if SYSTEM_COLUMNS.contains(&name) => Found::Value(Val::Other),
            None if self.pinned => Found::NotPinned,
            None => Found::Nothing,
        }
    }
}

/// The client that a number written in a statement names.
pub(crate) fn client_number(number: u64) -> Option<ClientOf> {
    let client = u32::try_from(number).ok().and_then(ClientId::new)?;
    Some(ClientOf::Number(client))
}
