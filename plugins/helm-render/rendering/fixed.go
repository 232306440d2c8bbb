package rendering

import "text/template"

// What stands for a certificate, and for its key.
const fixedPEM = "rendered without keys"

// The hash of a password that is nobody's.
const fixedHash = "$2a$10$AAAAAAAAAAAAAAAAAAAAAOAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// certificate is what templates get of the functions that make one.
type certificate struct {
	Cert string
	Key  string
}

// fixed are functions that compute keys and slow hashes: minutes in WebAssembly,
// and no image follows from what they come to. They answer with the same ones
// every time.
func fixed() template.FuncMap {
	made := func(...any) certificate { return certificate{Cert: fixedPEM, Key: fixedPEM} }
	return template.FuncMap{
		"genPrivateKey":            func(string) string { return fixedPEM },
		"genCA":                    made,
		"genCAWithKey":             made,
		"genSelfSignedCert":        made,
		"genSelfSignedCertWithKey": made,
		"genSignedCert":            made,
		"genSignedCertWithKey":     made,
		"buildCustomCert":          made,
		"bcrypt":                   func(string) string { return fixedHash },
		"htpasswd":                 func(user, _ string) string { return user + ":" + fixedHash },
		"derivePassword":           func(uint32, string, string, string, string) string { return "derived" },
	}
}
