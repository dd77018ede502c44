//! [`CountsItems`]: limits the number of items that lists may claim to have.
//!
//! A list begins with the number of its items, and items without contents take no bytes: a few bytes can
//! claim 2^64 of them, which would keep the reader busy for ever. All other items take at least one byte.
//! So all lists of a message together may have as many items as the message has bytes, plus
//! [some](EMPTY_ITEMS) that take none.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// The most items without bytes in one message.
const EMPTY_ITEMS: u64 = 1 << 20;

pub(crate) const TOO_MANY: &str =
    "it has more items than bytes: it may have 1,048,576 items without contents";

/// The number of items that may still come.
#[derive(Debug)]
pub(crate) struct Items {
    left: Cell<u64>,
    too_many: Cell<bool>,
}

impl Items {
    /// For a message of `bytes` bytes.
    pub(crate) fn of_message(bytes: usize) -> Self {
        let left = Cell::new((bytes as u64).saturating_add(EMPTY_ITEMS));
        Self { left, too_many: Cell::new(false) }
    }

    pub(crate) fn were_too_many(&self) -> bool {
        self.too_many.get()
    }

    #[inline(always)]
    fn count<E: Error>(&self) -> Result<(), E> {
        let left = self.left.get();
        if left == 0 {
            return Err(self.refuse());
        }
        self.left.set(left - 1);
        Ok(())
    }

    #[cold]
    fn refuse<E: Error>(&self) -> E {
        self.too_many.set(true);
        E::custom(TOO_MANY)
    }
}

/// Wraps a part of serde's interface for reading, and counts the items of lists.
///
/// `LIST` is true inside of a list, and false in a struct or a tuple, whose type fixes its number of parts.
pub(crate) struct CountsItems<'a, D, const LIST: bool = false> {
    inner: D,
    items: &'a Items,
}

impl<'a, D> CountsItems<'a, D> {
    #[inline(always)]
    pub(crate) fn new(inner: D, items: &'a Items) -> Self {
        Self { inner, items }
    }
}

impl<'a, D, const LIST: bool> CountsItems<'a, D, LIST> {
    #[inline(always)]
    fn within(inner: D, items: &'a Items) -> Self {
        Self { inner, items }
    }
}

macro_rules! deserialize {
    ($list:literal: $($method:ident($($name:ident: $type:ty),*))*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($name,)* CountsItems::<_, $list>::within(visitor, self.items))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for CountsItems<'_, D> {
    type Error = D::Error;

    deserialize! { true: deserialize_seq() deserialize_map() }

    deserialize! {
        false:
        deserialize_any() deserialize_bool()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf() deserialize_option() deserialize_unit()
        deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    #[inline(always)]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($($value:ident: $type:ty)?))*) => {$(
        #[inline(always)]
        fn $method<E: Error>(self $(, $value: $type)?) -> Result<V::Value, E> {
            self.inner.$method($($value)?)
        }
    )*};
}

impl<'de, V: Visitor<'de>, const LIST: bool> Visitor<'de> for CountsItems<'_, V, LIST> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(value: bool)
        visit_i8(value: i8) visit_i16(value: i16) visit_i32(value: i32) visit_i64(value: i64)
        visit_i128(value: i128)
        visit_u8(value: u8) visit_u16(value: u16) visit_u32(value: u32) visit_u64(value: u64)
        visit_u128(value: u128)
        visit_f32(value: f32) visit_f64(value: f64) visit_char(value: char)
        visit_str(value: &str) visit_borrowed_str(value: &'de str) visit_string(value: String)
        visit_bytes(value: &[u8]) visit_borrowed_bytes(value: &'de [u8])
        visit_byte_buf(value: Vec<u8>)
        visit_none() visit_unit()
    }

    #[inline(always)]
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(CountsItems::new(from, self.items))
    }

    #[inline(always)]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(CountsItems::new(from, self.items))
    }

    #[inline(always)]
    fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(CountsItems::<_, LIST>::within(from, self.items))
    }

    #[inline(always)]
    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(CountsItems::<_, LIST>::within(from, self.items))
    }

    #[inline(always)]
    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(CountsItems::new(from, self.items))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for CountsItems<'_, S> {
    type Value = S::Value;

    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(CountsItems::new(from, self.items))
    }
}

impl<'de, A: SeqAccess<'de>, const LIST: bool> SeqAccess<'de> for CountsItems<'_, A, LIST> {
    type Error = A::Error;

    #[inline(always)]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let item = self.inner.next_element_seed(CountsItems::new(seed, self.items))?;
        if LIST && item.is_some() {
            self.items.count()?;
        }
        Ok(item)
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>, const LIST: bool> MapAccess<'de> for CountsItems<'_, A, LIST> {
    type Error = A::Error;

    #[inline(always)]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let key = self.inner.next_key_seed(CountsItems::new(seed, self.items))?;
        if LIST && key.is_some() {
            self.items.count()?;
        }
        Ok(key)
    }

    #[inline(always)]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(CountsItems::new(seed, self.items))
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'a, A: EnumAccess<'de>> EnumAccess<'de> for CountsItems<'a, A> {
    type Error = A::Error;
    type Variant = CountsItems<'a, A::Variant>;

    #[inline(always)]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (name, variant) = self.inner.variant_seed(CountsItems::new(seed, self.items))?;
        Ok((name, CountsItems::new(variant, self.items)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for CountsItems<'_, A> {
    type Error = A::Error;

    #[inline(always)]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline(always)]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(CountsItems::new(seed, self.items))
    }

    #[inline(always)]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, CountsItems::new(visitor, self.items))
    }

    #[inline(always)]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, CountsItems::new(visitor, self.items))
    }
}
