-- grain: one batch that the cleansed gate judges
{{ config(tags=["silver"]) }}

select batch_profiles.*
from {{ ref("batch_profiles") }} as batch_profiles
inner join {{ ref("pending_batches") }} as pending_batches
    on batch_profiles.batch_id = pending_batches.batch_id
where pending_batches.is_judged
