package storetest

var unblockRules, deleteRules, clockRules, expiryRules, poolRules, listRules, requestRules, defectRules, raceRules, randomRules []rule
