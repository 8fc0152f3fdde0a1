-- How Argo CD judges NsqClusters, NsqTopics and NsqChannels: by their conditions, and only by those that are about the
-- generation that is there. What was edited a moment ago is not healthy because it was before.
local status = obj.status or {}
if status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at it yet"}
end
local by = {}
for _, condition in ipairs(status.conditions) do
  by[condition.type] = condition
end
local function holds(kind)
  return by[kind] ~= nil and by[kind].status == "True"
end
local function told(health, condition)
  return {status = health, message = condition.reason .. ": " .. condition.message}
end
if holds("Paused") then
  return told("Suspended", by.Paused)
end
if holds("Stalled") then
  return told("Degraded", by.Stalled)
end
if holds("Ready") then
  return told("Healthy", by.Ready)
end
local ready = by.Ready or {reason = "Unknown", message = "there is no condition Ready"}
if ready.reason == "ImageNotPulled" or ready.reason == "PodsCrash" or ready.reason == "PodsNotScheduled" then
  return told("Degraded", ready)
end
return told("Progressing", ready)
