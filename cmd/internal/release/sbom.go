package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"strings"
)

// sbom writes NAME_linux_ARCH.spdx.json: the modules in a program, as the program itself
// says, in the form of SPDX 2.3.
func (r *release) sbom(p program, a arch, binary []byte) error {
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return err
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(binary))
	id := func(path string) string {
		return "SPDXRef-" + strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' {
				return c
			}
			return '-'
		}, path)
	}
	type object map[string]any
	purl := func(path, version string) []object {
		return []object{{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:golang/" + path + "@" + version}}
	}
	packages := []object{{
		"SPDXID": id(p.Name), "name": p.Name, "versionInfo": r.version, "downloadLocation": "https://github.com/clanmon/clanmon",
		"licenseDeclared": "Apache-2.0", "licenseConcluded": "Apache-2.0", "copyrightText": "NOASSERTION", "filesAnalyzed": false,
		"primaryPackagePurpose": "APPLICATION", "checksums": []object{{"algorithm": "SHA256", "checksumValue": sum}},
	}}
	relations := []object{{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": id(p.Name)}}
	add := func(path, version string) {
		packages = append(packages, object{
			"SPDXID": id(path), "name": path, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
			"licenseDeclared": "NOASSERTION", "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION", "externalRefs": purl(path, version),
		})
		relations = append(relations, object{"spdxElementId": id(p.Name), "relationshipType": "DEPENDS_ON", "relatedSpdxElement": id(path)})
	}
	add("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		add(m.Path, m.Version)
	}
	return r.write(p.Name+"_linux_"+a.name+".spdx.json", append(marshal(object{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": p.Name + "_linux_" + a.name,
		"documentNamespace": "https://github.com/clanmon/clanmon/spdx/" + p.Name + "/" + sum,
		"creationInfo":      object{"created": r.date.Format("2006-01-02T15:04:05Z"), "creators": []string{"Tool: clanmon-release"}},
		"packages":          packages, "relationships": relations,
	}), '\n'))
}
