-- grain: one id whose reference data this run publishes anew
{{ config(tags=["reference"]) }}

with

reference_changes as (

    select * from {{ ref("reference_changes") }}

),

pending_versions as (

    select * from {{ source("ops", "reference_versions") }}
    where pending

)

select distinct
    reference_changes.kind,
    reference_changes.id
from reference_changes
inner join pending_versions
    on reference_changes.seen_at = pending_versions.seen_at
