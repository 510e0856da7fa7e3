//! What comes back beside contents: lists, attributes, devices, owners; and trees of many levels.

use super::*;

fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).expect("list attributes");
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut found: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("read attribute");
            (String::from_utf8(name.to_vec()).expect("text"), value[..length].to_vec())
        })
        .filter(|(name, _)| name != "security.selinux")
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn lists_attributes_capabilities_and_devices_come_back() {
    use rustix::fs::{FileType, Mode, XattrFlags, makedev, mknodat, setxattr};
    if !is_root() {
        return;
    }
    let world = World::new();
    let src = world.path("src");
    fill(&src, &[("shared/file", "x"), ("plain", "y")]);
    let set =
        |path: &str, name: &str, value: &[u8]| setxattr(src.join(path), name, value, XattrFlags::empty());
    if set("plain", "user.origin", b"he\nre\0\xff").is_err() {
        packhorse_testkit::skipped("the file system has no extended attributes");
        return;
    }
    let owners = owners::Owners::read(true);
    let list = b"user::rw-,user:1234:rw-,group::r--,group:7:r-x,mask::rwx,other::---";
    let list = acl::bytes_of(list, &owners).expect("a list");
    set("plain", "user.a=b%", b"").expect("set attribute");
    set("shared/file", "system.posix_acl_access", &list).expect("set list");
    set("shared", "system.posix_acl_default", &list).expect("set list");
    fs::write(src.join("shared/inherits"), "z").expect("write file");
    let capability: Vec<u8> =
        [0x0200_0001u32, 1 << 10, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    set("plain", "security.capability", &capability).expect("set capability");
    let device = |name: &str, kind, major, minor| {
        mknodat(rustix::fs::CWD, src.join(name), kind, Mode::RUSR, makedev(major, minor))
    };
    let devices = device("null", FileType::CharacterDevice, 1, 3).is_ok();
    if devices {
        device("removed", FileType::CharacterDevice, 0, 0).expect("make device");
        device("disk", FileType::BlockDevice, 259, 70_000).expect("make device");
    } else {
        packhorse_testkit::skipped("devices cannot be made");
    }
    let summary = world.backed_up(&[]).await;
    // A list for new entries of the folder above must not show in what is restored.
    setxattr(world.folder.path(), "system.posix_acl_default", &list, XattrFlags::empty()).expect("set list");
    let out = world.path("out");
    world.restore(&out, &summary, false).await.expect("restored");
    for path in ["", "plain", "shared", "shared/file", "shared/inherits"] {
        assert_eq!(xattrs(&src.join(path)), xattrs(&out.join(path)), "{path}");
    }
    let metadata = |root: &Path, name: &str| fs::symlink_metadata(root.join(name)).expect("metadata");
    for name in if devices { &["null", "removed", "disk"][..] } else { &[] } {
        let [before, after] = [&src, &out].map(|root| metadata(root, name));
        assert_eq!((before.rdev(), before.mode()), (after.rdev(), after.mode()), "{name}");
    }
}

#[tokio::test]
async fn owners_come_back_by_name_or_by_number() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let owned = |user: &str, id: u64| {
        let mut bytes = member(EntryType::Regular, "./file", "", b"");
        bytes[265..265 + user.len()].copy_from_slice(user.as_bytes());
        bytes[297..297 + user.len()].copy_from_slice(user.as_bytes());
        let mut header = Header::from_byte_slice(&bytes[..512]).clone();
        header.set_uid(id);
        header.set_gid(id);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    for (user, numeric, expected) in
        [("daemon", false, 1), ("daemon", true, 4711), ("no-such-user-x", false, 4711)]
    {
        let summary = world.store(&archive(&[owned(user, 4711)]));
        let target = Target { numeric_owner: numeric, ..to(&world.path("out")) };
        assert_eq!(world.replace(target, &summary).await.expect("restored"), None);
        let found = fs::metadata(world.path("out/file")).expect("metadata");
        assert_eq!((found.uid(), found.gid()), (expected, expected), "{user} {numeric}");
    }
}

#[tokio::test]
async fn many_levels_need_few_open_files_and_little_time() {
    let world = World::new();
    let src = world.path("src");
    let levels = 1500;
    let deep = |root: &Path, name: &str| {
        let mut descent = packhorse_service::descent::Descent::new(File::open(root).expect("open").into());
        for _ in 0..levels {
            if name == "make" {
                rustix::fs::mkdirat(descent.here(), "x", rustix::fs::Mode::RWXU).expect("make folder");
            }
            descent.down(b"x").expect("go down");
        }
        packhorse_service::descent::entries(descent.here()).expect("list").len()
    };
    deep(&src, "make");
    fill(&src, &[("file", "x")]);
    let began = std::time::Instant::now();
    let summary = world.backed_up(&["tmp", "*.bak"]).await;
    let target = world.path("target");
    for _ in 0..2 {
        world.replace(to(&target), &summary).await.expect("restored");
    }
    assert_eq!(deep(&target, "look"), 0);
    // It took minutes when every level was matched with every other.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let open = fs::read_dir("/proc/self/fd").expect("list").count();
    assert!(open < 500, "{open} files are open");
    remove::remove_tree(&src).expect("removed");
    remove::remove_tree(&target).expect("removed");
    world.assert_no_leftovers();
}
