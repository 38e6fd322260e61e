// Package tests holds the tests of our Nix files. Where there is no nixpkgs, they
// are evaluated with a stand-in for its lib (standin.nix); what comes out of that,
// units, settings and certificates, is used for real.
package tests
