-- grain: one batch that the validated gate judges
{{ config(tags=["bronze"]) }}

select {{ all_but("validation_profiles", "is_judged") }}
from {{ ref("validation_profiles") }} as validation_profiles
inner join {{ ref("pending_batches") }} as pending_batches
    on validation_profiles.batch_id = pending_batches.batch_id
where pending_batches.is_judged
