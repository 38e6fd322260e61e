package main

func newCheckCommand(e env) command { return nil }
