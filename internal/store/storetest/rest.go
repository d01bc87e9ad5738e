package storetest

var defectRules, raceRules, randomRules []rule
