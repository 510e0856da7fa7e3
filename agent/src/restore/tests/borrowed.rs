//! Who uses objects of a repository by other ways than alternates that name it: each keeps it from being replaced.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use packhorse_testkit::{BindMount, GitRepo};

use super::{
    desk::Desk,
    places::{force, written},
    writer::Writer,
};

struct Site {
    folder: tempfile::TempDir,
    writer: Writer,
    desk: Desk,
}

impl Site {
    /// A storage with a packed lender, `a.git`, that the vault has too.
    fn new() -> Self {
        let (folder, _repo, writer) = written(&["a.git"]);
        let desk = Desk::new();
        let lender = GitRepo::init(desk.path("a.git"));
        lender.fill("main", 3);
        lender.run(&["repack", "-adq"]);
        lender.commit("loose", &[("loose", "1")]);
        Self { folder, writer, desk }
    }

    /// A repository without objects.
    fn borrower(&self, path: &str) -> PathBuf {
        GitRepo::init(self.desk.path(path));
        self.desk.path(path)
    }

    fn lend(&self, to: &Path, objects: &Path) {
        let line = format!("{}\n", objects.display());
        fs::write(to.join("objects/info/alternates"), line).expect("write alternates");
    }

    fn elsewhere(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).expect("create folder");
        path
    }

    /// Plan and restore refuse the lender, and name the borrower.
    async fn assert_kept(&mut self, borrower: &str) {
        let (plan, ran) = force(&self.desk, &mut self.writer, &["a.git"]).await;
        assert_eq!((plan.refused, ran.result.expect("restore").restored), (1, 0), "{borrower}");
        for failures in [&plan.failures, &ran.failures] {
            let said = failures[0].problem.to_string();
            assert!(said.contains(&format!("{borrower} borrows objects")), "{said}");
        }
        self.desk.repo("a.git");
    }

    async fn assert_replaced(&mut self) {
        let (plan, ran) = force(&self.desk, &mut self.writer, &["a.git"]).await;
        assert_eq!((plan.replaced, ran.result.expect("restore").restored), (1, 1), "{:?}", ran.failures);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_and_folders_of_objects_may_be_links() {
    let mut site = Site::new();
    let pack = site.borrower("pack.git").join("objects/pack");
    fs::remove_dir(&pack).expect("remove");
    symlink("../../a.git/objects/pack", &pack).expect("make link");
    site.assert_kept("pack.git").await;
    fs::remove_file(&pack).expect("remove");

    let files = site.borrower("files.git").join("objects/pack");
    for entry in fs::read_dir(site.desk.path("a.git/objects/pack")).expect("packs") {
        let entry = entry.expect("pack");
        symlink(entry.path(), files.join(entry.file_name())).expect("make link");
    }
    site.assert_kept("files.git").await;
    fs::remove_dir_all(site.desk.path("files.git")).expect("remove");

    let objects = site.borrower("loose.git").join("objects");
    let is_loose = |entry: &fs::DirEntry| entry.file_name().len() == 2;
    let mut folders =
        fs::read_dir(site.desk.path("a.git/objects")).expect("objects").map(|entry| entry.expect("entry"));
    let loose = folders.find(is_loose).expect("a loose object");
    symlink(loose.path(), objects.join(loose.file_name())).expect("make link");
    site.assert_kept("loose.git").await;
    fs::remove_dir_all(site.desk.path("loose.git")).expect("remove");
    site.assert_replaced().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bind_mount_hides_the_lender() {
    let mut site = Site::new();
    let (storage, objects) = (site.elsewhere("storage"), site.elsewhere("objects"));
    let borrower = site.borrower("b.git");
    {
        let Some(_mount) = BindMount::new(site.desk.folder.path(), &storage) else { return };
        site.lend(&borrower, &storage.join("a.git/objects"));
        site.assert_kept("b.git").await;
    }
    {
        let Some(_mount) = BindMount::new(site.desk.path("a.git/objects"), &objects) else { return };
        site.lend(&borrower, &objects);
        site.assert_kept("b.git").await;
    }
    fs::remove_file(borrower.join("objects/info/alternates")).expect("remove");
    for folder in ["objects", "objects/pack"] {
        let from = site.desk.path("a.git").join(folder);
        let Some(_mount) = BindMount::new(from, borrower.join(folder)) else { return };
        site.assert_kept("b.git").await;
    }
    site.assert_replaced().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn borrowers_may_lie_in_any_folder() {
    let mut site = Site::new();
    let objects = site.desk.path("a.git/objects");
    GitRepo::init(site.desk.path("other.git"));
    for path in [
        "lost+found/b.git",
        "+gitaly/b.git",
        "@pools/b.git",
        "other.git/lfs/b.git",
        "other.git/objects/x/b.git",
        "other.git/hooks/b.git",
        "g/objects/aa/b.git",
    ] {
        let borrower = site.borrower(path);
        site.lend(&borrower, &objects);
        site.assert_kept(path).await;
        fs::remove_dir_all(borrower).expect("remove");
    }
    // A repository elsewhere that is served from here, too.
    let outside = site.folder.path().join("outside.git");
    GitRepo::init(&outside);
    site.lend(&outside, &objects);
    symlink(&outside, site.desk.path("served.git")).expect("make link");
    site.assert_kept("served.git").await;
    fs::remove_file(site.desk.path("served.git")).expect("remove");
    site.assert_replaced().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_common_folder_is_borrowed() {
    let mut site = Site::new();
    let borrower = site.desk.path("b.git");
    fs::create_dir(&borrower).expect("create folder");
    fs::write(borrower.join("HEAD"), "ref: refs/heads/main\n").expect("write HEAD");
    for common in ["../a.git\n".to_owned(), site.desk.path("a.git").display().to_string()] {
        fs::write(borrower.join("commondir"), common).expect("write commondir");
        site.assert_kept("b.git").await;
    }
    fs::remove_dir_all(borrower).expect("remove");
    site.assert_replaced().await;
}
