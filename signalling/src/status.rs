//! What anyone may know of a group.

use serde_json::{Map, Value};

use crate::description::Listing;
use crate::name::GroupName;

/// What the world may know of a group, before it becomes JSON.
#[derive(Clone, Debug)]
pub struct StatusView {
    /// The name of the group.
    pub name: GroupName,
    /// What its file says for everybody to read.
    pub listing: Listing,
    /// Whether it is locked; told only if the group is public.
    pub is_locked: bool,
    /// How many are in; told only if the group is public.
    pub clients: usize,
}

/// The status that anyone may see. `location` and `endpoint` are its URLs.
pub fn unauthenticated_status(
    view: &StatusView,
    location: &str,
    endpoint: &str,
) -> Map<String, Value> {
    let mut status = Map::new();
    let mut put = |key: &str, value: Value| {
        status.insert(key.to_owned(), value);
    };
    put("name", view.name.as_str().into());
    let listing = &view.listing;
    let put_text = |put: &mut dyn FnMut(&str, Value), key: &str, text: &str| {
        if !text.is_empty() {
            put(key, text.into());
        }
    };
    put_text(&mut put, "displayName", &listing.display_name);
    put_text(&mut put, "description", &listing.description);
    if let Some(url) = &listing.redirect {
        put("redirect", url.as_str().into());
        return status;
    }
    put("location", location.into());
    put("endpoint", endpoint.into());
    put_text(&mut put, "authServer", &listing.auth_server);
    put_text(&mut put, "authPortal", &listing.auth_portal);
    if listing.is_public {
        if view.is_locked {
            put("locked", true.into());
        }
        put("clientCount", view.clients.into());
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_only_for_public_groups() {
        let mut view = StatusView {
            name: GroupName::parse("a").unwrap(),
            listing: Listing::default(),
            is_locked: true,
            clients: 0,
        };
        let keys = |view: &StatusView| {
            unauthenticated_status(view, "l", "e").keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(keys(&view), ["endpoint", "location", "name"]);
        view.listing.is_public = true;
        assert_eq!(keys(&view), ["clientCount", "endpoint", "location", "locked", "name"]);
        view.listing.redirect = Some("https://x/".into());
        assert_eq!(keys(&view), ["name", "redirect"]);
    }
}
