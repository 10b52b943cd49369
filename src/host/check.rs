//! Everything there is to judge, in one report.

use std::path::PathBuf;

use serde::Serialize;

use super::item::{Item, Status};
use super::{Host, directories, files, kernel, limits, memory};
use crate::config::BrokerConfig;

/// The items, in the order of what is worst if it is wrong.
#[derive(Debug, Serialize)]
pub struct Report {
    pub kernel: String,
    pub cpus: usize,
    pub memory_kib: u64,
    pub shards: u16,
    pub items: Vec<Item>,
    /// Items that `tuning/apply` would set.
    pub wanted: usize,
    /// Items that the operator has to do.
    pub advised: usize,
}

/// Judges a host for a broker of this configuration.
///
/// - `directories`: its data's and its journals', as [`super::directories`] has them.
/// - Of another root than this machine's only what lies below it is judged.
pub fn check(host: &Host, config: &BrokerConfig, directories: &[PathBuf]) -> Report {
    let mut items = Vec::new();
    kernel::look(host, &mut items);
    files::look(host, &mut items);
    memory::look(host, &mut items);
    memory::look_at_budget(host, config, &mut items);
    if host.root.is_machine() {
        limits::look(host, directories, &mut items);
        directories::look(host, config, directories, &mut items);
    }
    let count = |status| items.iter().filter(|item| item.status == status).count();
    Report {
        kernel: host.kernel.clone(),
        cpus: host.cpus,
        memory_kib: host.memory_kib,
        shards: host.shards,
        wanted: count(Status::Want),
        advised: count(Status::Advice),
        items,
    }
}

impl Report {
    /// Whether nothing is wanted.
    pub fn is_well(&self) -> bool {
        self.wanted + self.advised == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::made_up;
    use super::*;

    #[test]
    fn a_made_up_host_is_judged_by_what_it_has() {
        let (host, _dir) = made_up(&[("proc/sys/vm/swappiness", "60\n")]);
        let report = check(&host, &BrokerConfig::default(), &["/data".into()]);
        let status = |name: &str| {
            let item = report.items.iter().find(|item| item.item == name);
            item.map(|item| item.status)
        };
        assert_eq!(status("vm.swappiness"), Some(Status::Want));
        assert_eq!(status("kernel.release"), Some(Status::Ok));
        assert_eq!(status("disk.path:/data"), Some(Status::Advice));
        assert_eq!(status("vm.thp"), None, "this kernel has none");
        assert_eq!(
            status("dir.access:/data"),
            None,
            "that would be this machine's"
        );
        assert_eq!(status("limits.start:nofile"), None);
        assert!(!report.is_well() && report.wanted >= 1);
    }
}
