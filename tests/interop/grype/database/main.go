// Writes a database of grype with a handful of vulnerabilities: those of the
// packages that the tests plant.
//
//	database <folder>
package main

import (
	"fmt"
	"os"
	"time"

	db "github.com/anchore/grype/grype/db/v6"
)

type planted struct {
	name, ecosystem, pkg, format, constraint, fixed string
	system                                          *db.OperatingSystem
}

func main() {
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(folder string) error {
	store, err := db.NewWriter(db.Config{DBDirPath: folder, CacheSizeKiB: 1024})
	if err != nil {
		return err
	}
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	provider := db.Provider{ID: "planted", Version: "1", Processor: "tests", DateCaptured: &now, InputDigest: "sha256:0"}
	debian := db.OperatingSystem{Name: "debian", ReleaseID: "debian", MajorVersion: "12", Codename: "bookworm"}
	alpine := db.OperatingSystem{Name: "alpine", ReleaseID: "alpine", MajorVersion: "3", MinorVersion: "18"}
	rows := []planted{
		{"CVE-0001-DEB", "", "glibc", "dpkg", "< 2.36-9+deb12u4", "2.36-9+deb12u4", &debian},
		{"CVE-0002-APK", "", "openssl", "apk", "< 3.1.4-r2", "3.1.4-r2", &alpine},
		{"GHSA-0003-npm", "npm", "lodash", "semver", "< 4.17.21", "4.17.21", nil},
		{"GHSA-0004-python", "python", "six", "python", "< 1.17.0", "1.17.0", nil},
		{"GHSA-0005-java", "java-archive", "org.example:planted", "maven", "< 2.0", "2.0", nil},
		{"GHSA-0006-go", "go-module", "golang.org/x/crypto", "golang", "< 999.0.0", "999.0.0", nil},
	}
	for _, row := range rows {
		vulnerability := db.VulnerabilityHandle{
			Name: row.name, Status: db.VulnerabilityActive, PublishedDate: &now, ModifiedDate: &now, Provider: &provider,
			BlobValue: &db.VulnerabilityBlob{ID: row.name, Description: "planted", Severities: []db.Severity{
				{Scheme: db.SeveritySchemeHML, Value: "high", Rank: 1},
			}},
		}
		if err := store.AddVulnerabilities(&vulnerability); err != nil {
			return err
		}
		affected := db.AffectedPackageHandle{
			Vulnerability: &vulnerability, OperatingSystem: row.system,
			Package: &db.Package{Name: row.pkg, Ecosystem: row.ecosystem},
			BlobValue: &db.PackageBlob{Ranges: []db.Range{{
				Version: db.Version{Type: row.format, Constraint: row.constraint},
				Fix:     &db.Fix{Version: row.fixed, State: db.FixedStatus},
			}}},
		}
		if row.system != nil {
			affected.Package.Ecosystem = map[string]string{"debian": "deb", "alpine": "apk"}[row.system.Name]
		}
		if err := store.AddAffectedPackages(&affected); err != nil {
			return err
		}
	}
	return store.Close()
}
