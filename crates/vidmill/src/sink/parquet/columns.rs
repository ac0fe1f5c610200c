//! Columns of nested values, with Parquet's definition and repetition levels:
//! <https://parquet.apache.org/docs/file-format/nestedencoding/>.
//!
//! A [`Leaf`] is a column of the file. What holds leaves is built of structs and [`List`]s like the schema, and hands each a
//! [`Level`]: how much of the path to it is there, and at which of the lists around it this value goes on.

use std::collections::HashMap;
use std::fs::File;

use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::SerializedRowGroupWriter;

pub(super) type RowGroup<'a> = SerializedRowGroupWriter<'a, File>;

/// Where in its row a value stands.
#[derive(Clone, Copy)]
pub(super) struct Level {
    /// How many optional or repeated groups of its path are there.
    definition: i16,
    /// The innermost list that it is a further element of; 0 for the first of its row.
    repetition: i16,
    /// How many lists are around it.
    lists: i16,
}

impl Level {
    /// A new row.
    pub(super) const ROW: Self = Self { definition: 0, repetition: 0, lists: 0 };

    /// Within an optional value that is there.
    fn there(self) -> Self {
        Self { definition: self.definition + 1, ..self }
    }
}

/// Columns that belong together.
pub(super) trait Columns {
    /// Something around them is null or empty.
    fn skip(&mut self, at: Level);
    /// Writes them as the next columns of a row group.
    fn write(&self, group: &mut RowGroup<'_>) -> Result<()>;
}

/// One column: only the values that are there, and the levels of all.
#[derive(Default)]
pub(super) struct Leaf<T> {
    values: Vec<T>,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl<T> Leaf<T> {
    /// A value of a required field.
    pub(super) fn put(&mut self, at: Level, value: T) {
        self.values.push(value);
        self.definition.push(at.definition);
        self.repetition.push(at.repetition);
    }

    /// A value of an optional field.
    pub(super) fn put_or_null(&mut self, at: Level, value: Option<T>) {
        match value {
            Some(value) => self.put(at.there(), value),
            None => self.null(at),
        }
    }

    fn null(&mut self, at: Level) {
        self.definition.push(at.definition);
        self.repetition.push(at.repetition);
    }

    /// Values and nulls.
    pub(super) fn len(&self) -> usize {
        self.definition.len()
    }
}

/// What a [`Leaf`] can hold.
pub(super) trait Native: Sized {
    /// Parquet's name of it.
    type Type: DataType<T = Self>;
}

impl Native for i32 {
    type Type = Int32Type;
}
impl Native for i64 {
    type Type = Int64Type;
}
impl Native for f32 {
    type Type = FloatType;
}
impl Native for f64 {
    type Type = DoubleType;
}
impl Native for ByteArray {
    type Type = ByteArrayType;
}

impl<T: Native> Columns for Leaf<T> {
    fn skip(&mut self, at: Level) {
        self.null(at);
    }

    fn write(&self, group: &mut RowGroup<'_>) -> Result<()> {
        let column = group.next_column()?;
        let mut column =
            column.ok_or_else(|| ParquetError::General("more columns than the schema has".into()))?;
        // A column that can be neither null nor repeated has no levels.
        column.typed::<T::Type>().write_batch(
            &self.values,
            Some(&self.definition),
            Some(&self.repetition),
        )?;
        column.close()
    }
}

/// A list, whose elements are in `inner`.
#[derive(Default)]
pub(super) struct List<C> {
    inner: C,
}

impl<C: Columns> List<C> {
    /// A list of an optional field; `put` takes one element.
    pub(super) fn put_or_null<T>(
        &mut self,
        at: Level,
        list: Option<&[T]>,
        put: impl FnMut(&mut C, Level, &T) -> Result<()>,
    ) -> Result<()> {
        match list {
            Some(list) => self.put(at.there(), list, put),
            None => {
                self.inner.skip(at);
                Ok(())
            }
        }
    }

    /// A list of a required field.
    pub(super) fn put<T>(
        &mut self,
        at: Level,
        list: &[T],
        mut put: impl FnMut(&mut C, Level, &T) -> Result<()>,
    ) -> Result<()> {
        if list.is_empty() {
            self.inner.skip(at);
        }
        let lists = at.lists + 1;
        let mut element = Level { lists, ..at.there() };
        for value in list {
            put(&mut self.inner, element, value)?;
            element.repetition = lists;
        }
        Ok(())
    }
}

impl<C> List<C> {
    /// What `count` counts of its elements.
    pub(super) fn count(&self, count: impl FnOnce(&C) -> usize) -> usize {
        count(&self.inner)
    }
}

impl<T: Copy + Native> List<Leaf<T>> {
    /// A list of plain numbers, of an optional field.
    pub(super) fn put_numbers(&mut self, at: Level, list: Option<&[T]>) -> Result<()> {
        self.put_or_null(at, list, put_number)
    }
}

/// A number of a list.
pub(super) fn put_number<T: Copy>(column: &mut Leaf<T>, at: Level, number: &T) -> Result<()> {
    column.put(at, *number);
    Ok(())
}

impl<C: Columns> Columns for List<C> {
    fn skip(&mut self, at: Level) {
        self.inner.skip(at);
    }
    fn write(&self, group: &mut RowGroup<'_>) -> Result<()> {
        self.inner.write(group)
    }
}

/// A struct of columns: each of its fields, in the order of the schema, is [`Columns`].
macro_rules! columns {
    ($(#[$about:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Default)]
        struct $name {
            $($field: $type,)*
        }
        impl $crate::sink::parquet::columns::Columns for $name {
            fn skip(&mut self, at: $crate::sink::parquet::columns::Level) {
                $(self.$field.skip(at);)*
            }
            fn write(
                &self,
                group: &mut $crate::sink::parquet::columns::RowGroup<'_>,
            ) -> ::parquet::errors::Result<()> {
                $(self.$field.write(group)?;)*
                Ok(())
            }
        }
    };
}
pub(super) use columns;

/// An optional group.
#[derive(Default)]
pub(super) struct Maybe<C> {
    inner: C,
}

impl<C: Columns> Maybe<C> {
    /// The group, if it is there; `put` takes it.
    pub(super) fn put<T>(
        &mut self,
        at: Level,
        value: Option<&T>,
        put: impl FnOnce(&mut C, Level, &T) -> Result<()>,
    ) -> Result<()> {
        match value {
            Some(value) => put(&mut self.inner, at.there(), value),
            None => {
                self.inner.skip(at);
                Ok(())
            }
        }
    }
}

impl<C: Columns> Columns for Maybe<C> {
    fn skip(&mut self, at: Level) {
        self.inner.skip(at);
    }
    fn write(&self, group: &mut RowGroup<'_>) -> Result<()> {
        self.inner.write(group)
    }
}

/// The texts of a row group: how much memory they and what else counts take.
#[derive(Default)]
pub(super) struct Text {
    known: HashMap<String, ByteArray>,
    /// Bytes of different texts, and whatever else was counted.
    pub(super) bytes: usize,
}

impl Text {
    /// A text that comes again and again: in memory once.
    pub(super) fn shared(&mut self, text: &str) -> ByteArray {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let shared = self.own(text);
        self.known.insert(text.to_owned(), shared.clone());
        shared
    }

    /// Any other text.
    pub(super) fn own(&mut self, text: &str) -> ByteArray {
        self.bytes += text.len();
        ByteArray::from(text)
    }
}
