//! What the shop sells: one fixed table, so that every instance shows the same shelves and the only
//! thing that can differ between instances is the session.

/// One product on the shelf.
#[derive(Debug)]
pub(crate) struct Product {
    /// Its name in addresses and session fields: lower-case ASCII.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) note: &'static str,
    /// The shelf it stands on, shown above the name.
    pub(crate) shelf: &'static str,
    pub(crate) price_cents: u32,
    /// The inside of an SVG picture drawn on a field of 200 by 150.
    pub(crate) art: &'static str,
}

/// Everything on sale, in the order of the page.
pub(crate) const PRODUCTS: [Product; 9] = [
    Product {
        id: "espresso",
        name: "Night Train Espresso",
        note: "Dark chocolate and orange peel, 250 g of beans",
        shelf: "Coffee",
        price_cents: 1150,
        art: include_str!("assets/art/espresso.svg"),
    },
    Product {
        id: "filter",
        name: "Harbour Dripper",
        note: "Stoneware cone and glass server, two cups",
        shelf: "Coffee",
        price_cents: 3400,
        art: include_str!("assets/art/filter.svg"),
    },
    Product {
        id: "mug",
        name: "Summit Enamel Mug",
        note: "Chips with dignity, 350 ml",
        shelf: "Coffee",
        price_cents: 1400,
        art: include_str!("assets/art/mug.svg"),
    },
    Product {
        id: "assam",
        name: "Rainy Day Assam",
        note: "Malty second flush, tin of 125 g",
        shelf: "Tea",
        price_cents: 950,
        art: include_str!("assets/art/assam.svg"),
    },
    Product {
        id: "sencha",
        name: "First Flush Sencha",
        note: "Grassy and bright, with a cup to match",
        shelf: "Tea",
        price_cents: 2250,
        art: include_str!("assets/art/sencha.svg"),
    },
    Product {
        id: "kettle",
        name: "Slow Pour Kettle",
        note: "Gooseneck, walnut handle, 900 ml",
        shelf: "Tea",
        price_cents: 5800,
        art: include_str!("assets/art/kettle.svg"),
    },
    Product {
        id: "flask",
        name: "Long Walk Flask",
        note: "Hot for twelve hours, 500 ml",
        shelf: "Outdoors",
        price_cents: 3200,
        art: include_str!("assets/art/flask.svg"),
    },
    Product {
        id: "scarf",
        name: "Lambswool Scarf",
        note: "Woven in wide stripes, 180 cm",
        shelf: "Outdoors",
        price_cents: 4500,
        art: include_str!("assets/art/scarf.svg"),
    },
    Product {
        id: "umbrella",
        name: "Squall Umbrella",
        note: "Ash handle, eight ribs, no regrets",
        shelf: "Outdoors",
        price_cents: 3850,
        art: include_str!("assets/art/umbrella.svg"),
    },
];

/// The product with this id.
pub(crate) fn product(id: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.id == id)
}

/// A price as the page shows it, such as `€11.50`.
pub(crate) fn price_text(cents: u32) -> String {
    format!("€{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Ids become session fields and parts of addresses; one that needs escaping in either would
    /// work on one path and fail on the other.
    #[test]
    fn ids_are_plain_and_distinct() {
        let ids: HashSet<_> = PRODUCTS.iter().map(|product| product.id).collect();
        assert_eq!(ids.len(), PRODUCTS.len());
        assert!(ids.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_lowercase())));
    }

    #[test]
    fn prices_keep_their_zeros() {
        assert_eq!(price_text(1105), "€11.05");
        assert_eq!(price_text(5), "€0.05");
    }
}
